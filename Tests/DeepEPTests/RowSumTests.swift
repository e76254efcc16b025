// SPDX-License-Identifier: MIT

import KernelDispatch
import Kernels
import LowPrecision
import Platform
import TestSupport
import Testing

@Suite("Sums of rows")
struct RowSumTests {
    /// A number of every kind that a sum may meet.
    static func number(_ random: inout RandomNumbers) -> UInt16 {
        switch random.number(below: 12) {
        case 0: [0x7F80, 0xFF80, 0x7FC0, 0x8000, 0x0001][random.number(below: 5)]
        default: UInt16(random.number(below: 0x7F80)) | (random.number(below: 2) == 0 ? 0 : 0x8000)
        }
    }

    @Test(
        "every instruction set gives the reference's bits, in the cache or past it", arguments: 0..<24 as Range<UInt64>)
    func levels(seed: UInt64) throws {
        var random = RandomNumbers(seed: seed)
        let count = [1, 7, 63, 64, 65, 200, 512][random.number(below: 7)]
        let partCount = random.number(below: 6)
        let weights: [Float]? = random.number(below: 2) == 0 ? random.normals(partCount) : nil
        let rows = (0..<partCount).map { _ in
            GuardedBuffer((0..<count).map { _ in Self.number(&random) }, filler: 0)
        }
        let wanted = (0..<count).map { index in
            var sum: Float = 0
            for (part, row) in rows.enumerated() {
                let number = Float(BFloat16(bitPattern: row.start[index]))
                if let weights { sum += number * weights[part] } else { sum += number }
            }
            return sum
        }
        for level in InstructionSetLevel.available {
            // What goes past the cache has to be aligned, and the buffer ends at a page.
            for streams in count % 8 == 0 ? [false, true] : [false] {
                let out = GuardedBuffer<UInt16>(count: count, repeating: 0x5555)
                Self.run(
                    level.rowSums.bfloat16, rows.map { UnsafeRawPointer($0.start) }, weights, out.start, count, streams)
                #expect(out.isIntact)
                for index in 0..<count {
                    let sum = BFloat16(wanted[index])
                    let found = BFloat16(bitPattern: out.start[index])
                    #expect(
                        wanted[index].isNaN ? Float(found).isNaN : found.bitPattern == sum.bitPattern,
                        "\(level), number \(index)")
                }
            }
        }
    }

    @Test("every instruction set sums floats alike", arguments: 0..<12 as Range<UInt64>)
    func floats(seed: UInt64) throws {
        var random = RandomNumbers(seed: seed)
        let count = [1, 7, 31, 32, 33, 100, 256][random.number(below: 7)]
        let weights: [Float]? = seed % 2 == 0 ? random.normals(3) : nil
        let rows = (0..<3).map { _ in GuardedBuffer(random.normals(count), filler: 0) }
        let wanted = (0..<count).map { index in
            (0..<3).reduce(Float(0)) { $0 + rows[$1].start[index] * (weights?[$1] ?? 1) }
        }
        for level in InstructionSetLevel.available {
            let out = GuardedBuffer<Float>(count: count, repeating: .nan)
            Self.run(
                level.rowSums.float32, rows.map { UnsafeRawPointer($0.start) }, weights, out.start, count, false)
            #expect(out.isIntact && out.values == wanted, "\(level)")
        }
    }

    static func run(
        _ kernel: (UnsafePointer<RowSumArguments>) -> Void, _ rows: [UnsafeRawPointer], _ weights: [Float]?,
        _ out: UnsafeMutableRawPointer, _ count: Int, _ streams: Bool
    ) {
        (rows + [UnsafeRawPointer(out)]).withUnsafeBufferPointer { parts in
            guard let first = parts.baseAddress else { return }
            func call(_ weights: UnsafePointer<Float>?) {
                let arguments = RowSumArguments(
                    parts: first, partCount: rows.count, weights: weights, out: out, count: count, streams: streams)
                withUnsafePointer(to: arguments) { kernel($0) }
            }
            if let weights { weights.withUnsafeBufferPointer { call($0.baseAddress) } } else { call(nil) }
        }
    }
}
