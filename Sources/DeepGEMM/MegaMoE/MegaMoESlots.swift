// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels
internal import Workers

// SAFETY: In this file pointers are to slots and tokens that the caller has counted; each task writes tokens of its
// own.

/// The rows that experts made for some tokens: [tokenCount, slotCount, hidden] bfloat16 numbers.
struct MegaMoESlots {
    var base: UnsafeMutableRawPointer
    var slotCount: Int
    var hidden: Int

    /// Tokens that one task sums, at least.
    private static let taskElements = 1 << 15

    /// Where a slot is.
    func place(token: Int, slot: Int) -> UnsafeMutableRawPointer {
        base + (token * slotCount + slot) * hidden * 2
    }

    /// Adds up the slots of each token in their order, in float32 from zero on, and rounds once.
    ///
    /// - Parameters:
    ///   - experts: [tokens, topK] choices; slots behind these are always full.
    ///   - result: rows of bfloat16 numbers.
    func sum(
        tokens: Int, topK: Int, experts: UnsafePointer<Int32>, into result: ResultSlice, on context: ComputeContext
    ) {
        let kernel = context.level.rowSums.bfloat16
        let bundle = max(1, Self.taskElements / max(1, hidden * slotCount), ceilDivide(tokens, 1 << 19))
        context.team.run(taskCount: ceilDivide(tokens, bundle)) { task, _ in
            withUnsafeTemporaryAllocation(of: UnsafeRawPointer.self, capacity: slotCount + 1) { parts in
                guard let start = parts.baseAddress else { return }
                for token in task * bundle..<min((task + 1) * bundle, tokens) {
                    var count = 0
                    for slot in 0..<slotCount where slot >= topK || experts[token * topK + slot] >= 0 {
                        (start + count).initialize(to: UnsafeRawPointer(place(token: token, slot: slot)))
                        count += 1
                    }
                    var arguments = RowSumArguments(
                        parts: UnsafePointer(start), partCount: count, weights: nil,
                        out: result.address(row: token, column: 0), count: hidden, streams: false)
                    kernel(&arguments)
                }
            }
        }
    }
}
