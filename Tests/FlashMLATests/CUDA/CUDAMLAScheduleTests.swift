// SPDX-License-Identifier: MIT

import CUDA
import FlashMLA
import Testing

@Suite("The GPU attention's schedule, explored in every order")
struct CUDAMLAScheduleTests {
    @Test("No deadlock, no early read, no overwrite, for any number of pages", arguments: 0...6)
    func pages(count: Int) {
        for clears in [false, true] {
            let schedule = CUDAMLASchedule(stretches: [count], clearsTails: clears)
            let result = schedule.model.explore()
            #expect(result.fault == nil, "\(schedule): \(result.fault.map(String.init(describing:)) ?? "")")
        }
    }

    @Test(
        "From one request to the next",
        arguments: [[1, 1], [1, 2], [2, 1], [3, 2], [2, 3], [0, 2, 1], [1, 0, 1]])
    func stretches(counts: [Int]) {
        for clears in [false, true] {
            let schedule = CUDAMLASchedule(stretches: counts, clearsTails: clears)
            let result = schedule.model.explore()
            #expect(result.fault == nil, "\(schedule): \(result.fault.map(String.init(describing:)) ?? "")")
        }
    }

    @Test(
        "With index lists, whose rows are unpacked by warps",
        arguments: [[], [1], [2], [3], [4], [5], [1, 1], [2, 1], [3, 2], [0, 2, 1]])
    func unpacking(counts: [Int]) {
        let schedule = CUDAMLASchedule(stretches: counts, unpackers: 2)
        let result = schedule.model.explore()
        #expect(result.fault == nil, "\(schedule): \(result.fault.map(String.init(describing:)) ?? "")")
    }

    @Test("Planted faults are found", arguments: CUDAMLASchedule.Fault.allCases.filter { $0 != .none }, [0, 2])
    func faults(_ fault: CUDAMLASchedule.Fault, unpackers: Int) throws {
        // Two are mistakes of the unpacking warps, one is of the copier alone.
        if [.earlyArrival, .halfWait].contains(fault), unpackers == 0 { return }
        if fault == .weightsInWrongPart, unpackers > 0 { return }
        let schedule = CUDAMLASchedule(stretches: [5, 3], unpackers: unpackers, fault: fault)
        let found = try #require(schedule.model.explore().fault, "\(fault)")
        #expect(found.kind != .limitReached, "\(fault)")
    }
}
