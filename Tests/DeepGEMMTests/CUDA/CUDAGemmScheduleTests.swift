// SPDX-License-Identifier: MIT

import CUDA
import DeepGEMM
import Testing

@Suite("The GPU product's schedule, explored in every order")
struct CUDAGemmScheduleTests {
    @Test("One block: no deadlock, no early read, no overwrite", arguments: 2...4, 0...5)
    func oneBlock(stages: Int, blocks: Int) {
        for tiles in 1...3 {
            for late in [false, true] {
                let schedule = CUDAGemmSchedule(stages: stages, blocks: blocks, tiles: tiles, releasesLate: late)
                let result = schedule.model.explore()
                #expect(result.fault == nil, "\(schedule): \(result.fault.map(String.init(describing:)) ?? "")")
            }
        }
    }

    @Test("A cluster of two that shares an operand", arguments: 2...3, 0...5)
    func cluster(stages: Int, blocks: Int) {
        for tiles in 1...3 where stages == 2 || tiles * blocks <= 4 {
            for late in [false, true] {
                let schedule = CUDAGemmSchedule(
                    stages: stages, blocks: blocks, tiles: tiles, cluster: 2, mathGroups: 1, releasesLate: late)
                let result = schedule.model.explore()
                #expect(result.fault == nil, "\(schedule): \(result.fault.map(String.init(describing:)) ?? "")")
            }
        }
    }

    @Test("A cluster of two with two warpgroups each")
    func clusterOfPairs() {
        let schedule = CUDAGemmSchedule(stages: 2, blocks: 3, tiles: 1, cluster: 2, mathGroups: 2)
        let result = schedule.model.explore()
        #expect(result.fault == nil, "\(result.fault.map(String.init(describing:)) ?? "")")
    }

    @Test("Planted faults are found", arguments: CUDAGemmSchedule.Fault.allCases.filter { $0 != .none })
    func faults(_ fault: CUDAGemmSchedule.Fault) throws {
        let needsCluster = fault == .releasesOwnBlockOnly || fault == .bytesOfOwnHalfOnly
        let schedule = CUDAGemmSchedule(
            stages: 2, blocks: 3, tiles: 2, cluster: needsCluster ? 2 : 1, mathGroups: needsCluster ? 1 : 2,
            fault: fault)
        let found = try #require(schedule.model.explore().fault)
        #expect(found.kind != .limitReached)
        switch fault {
        case .none: break
        case .missingRelease, .releasesOwnBlockOnly: #expect(found.kind == .deadlock)
        case .producerParity: #expect([.deadlock, .overwriteBeforeRelease, .overlappingWrites].contains(found.kind))
        case .consumerParity: #expect([.deadlock, .readBeforeArrival].contains(found.kind))
        case .earlyRelease, .noStoreWait: #expect(found.kind == .overwriteBeforeRelease)
        case .bytesOfOwnHalfOnly: #expect([.readBeforeArrival, .deadlock].contains(found.kind))
        }
    }
}
