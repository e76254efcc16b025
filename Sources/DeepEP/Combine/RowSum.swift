// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels

/// The sum of rows, each number's parts in a given order, in floats, on the fastest instruction set of this machine;
/// all give the same bits.
enum RowSum {
    // SAFETY: In this file pointers are to whole rows of `count` numbers, which the caller warrants; reads and writes
    // stay inside them.

    /// An exchange has checked what the environment says about instruction sets before anything is summed.
    private static let kernels = ((try? InstructionSetLevel.selected()) ?? .baseline).rowSums

    /// out = Σ parts, rounded once to BF16.
    ///
    /// - Parameter streams: whether the result goes past the caches, where it can; a store fence orders it.
    static func bfloat16(
        _ parts: [UnsafeRawPointer], to out: UnsafeMutableRawPointer, count: Int, streams: Bool = false
    ) {
        sum(parts, nil, to: out, count: count, streams: streams, with: kernels.bfloat16)
    }

    /// out = Σ parts.
    static func float32(
        _ parts: [UnsafeRawPointer], to out: UnsafeMutableRawPointer, count: Int, streams: Bool = false
    ) {
        sum(parts, nil, to: out, count: count, streams: streams, with: kernels.float32)
    }

    /// out = Σ weight · part in floats, rounded once to BF16: a product is rounded before it is added.
    static func weightedBFloat16(
        _ parts: [(row: UnsafeRawPointer, weight: Float)], to out: UnsafeMutableRawPointer, count: Int,
        streams: Bool = false
    ) {
        sum(
            parts.map(\.row), parts.map(\.weight), to: out, count: count, streams: streams, with: kernels.bfloat16)
    }

    /// out = Σ weight · part: a product is rounded before it is added.
    static func weightedFloat32(
        _ parts: [(row: UnsafeRawPointer, weight: Float)], to out: UnsafeMutableRawPointer, count: Int,
        streams: Bool = false
    ) {
        sum(parts.map(\.row), parts.map(\.weight), to: out, count: count, streams: streams, with: kernels.float32)
    }

    private static func sum(
        _ parts: [UnsafeRawPointer], _ weights: [Float]?, to out: UnsafeMutableRawPointer, count: Int, streams: Bool,
        with kernel: (UnsafePointer<RowSumArguments>) -> Void
    ) {
        let streams = streams && Int(bitPattern: out) % 16 == 0
        parts.withUnsafeBufferPointer { parts in
            func call(_ weights: UnsafePointer<Float>?) {
                // An empty array may have no address; then none is read.
                guard let first = parts.baseAddress ?? UnsafePointer(bitPattern: 8) else { return }
                withUnsafePointer(
                    to: RowSumArguments(
                        parts: first, partCount: parts.count, weights: weights, out: out, count: count,
                        streams: streams)
                ) { kernel($0) }
            }
            if let weights {
                weights.withUnsafeBufferPointer { call($0.baseAddress) }
            } else {
                call(nil)
            }
        }
    }
}
