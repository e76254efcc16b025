// SPDX-License-Identifier: MIT

// SAFETY: In this file pointers are to whole rows: `hidden` BF16 numbers, or as many bytes as an encoded row has, which
// the callers warrant; reads and writes stay inside them.

internal import KernelDispatch
internal import Kernels

/// Ten bits for a number: how experts' rows travel back where bandwidth is short.
///
/// A block of 128 neighbours shares the logarithms of its smallest magnitude above zero and its largest,
///
///     high = log₂ max |x|,  low = max(log₂ min |x|, high − 32),  step = (high − low) / 510
///
/// and a number is a sign and nine bits: code 0 is zero, code c from 1 to 511 is the magnitude 2^(low + (c − 1)·step).
/// A magnitude takes the nearer one of its two neighbours on that scale, not of their logarithms: the border between
/// codes c and c + 1 lies at the mean of both magnitudes. So |error| ≤ |x|·(2^step − 1) / (2^step + 1), at most
/// 2.2 % where a block spans all 32 binades and 0.07 % where it spans one; what is more than 32 binades below the
/// largest becomes the smallest magnitude or zero, whichever is nearer.
///
/// A block stays BF16 where that does not serve: where its largest magnitude is 1 or more (or not a number, or below
/// 2⁻⁹⁰), where all its magnitudes are equal, and where it would not be shorter: a row's last block of 80 numbers or
/// fewer.
///
/// A row is, for each block, the BF16 bits of its smallest and largest magnitude (the smallest's are 0xFFFF where the
/// block stays BF16), then the blocks one after another: 160 bytes of codes (`encodeBlock` in `Kernels` says which bit
/// is whose), or the numbers. The arithmetic is kernels', the same bits on every instruction set; `ReferenceLogFMT10`
/// spells it out for one number.
public enum LogFMT10 {
    /// Numbers that share a scale.
    public static let blockCount = LogFMT.blockCount
    /// Codes of magnitudes above zero.
    static let magnitudes = 511
    /// Binades from the largest magnitude to the smallest at most.
    static let binades: Float = 32
    static let leastMaximum: Float = 0x1p-90
    /// Bytes of a block's codes.
    static let codeBytes = LogFMT.codeBytes

    /// An exchange has checked what the environment says about instruction sets before anything is encoded.
    private static let kernels = ((try? InstructionSetLevel.selected()) ?? .baseline).logFMT

    /// Bytes of a row at most: where all blocks stay BF16.
    public static func maximumBytes(hidden: Int) -> Int { LogFMT.headerBytes(hidden) + 2 * hidden }

    /// Bytes of a row of which every block has codes that can have them.
    static func usualBytes(hidden: Int) -> Int {
        let rest = hidden % blockCount
        return LogFMT.headerBytes(hidden) + hidden / blockCount * codeBytes + min(2 * rest, codeBytes)
    }

    /// Writes a row.
    ///
    /// - Parameters:
    ///   - row: `hidden` BF16 numbers.
    ///   - out: room for `maximumBytes(hidden:)`.
    /// - Returns: the bytes that were written.
    @discardableResult
    public static func encode(_ row: UnsafeRawPointer, hidden: Int, to out: UnsafeMutableRawPointer) -> Int {
        withUnsafeTemporaryAllocation(byteCount: LogFMT.scratchBytes, alignment: 64) { scratch in
            scratch.baseAddress.map { kernels.encode(row, out, hidden, $0) } ?? 0
        }
    }

    /// The numbers of a row that `encode` wrote.
    public static func decode(_ row: UnsafeRawPointer, hidden: Int) -> [Float] {
        [Float](unsafeUninitializedCapacity: hidden) { numbers, count in
            if let out = numbers.baseAddress {
                let part = Part(row: row, weight: 1, isPlain: false)
                sum([part], to: UnsafeMutableRawPointer(out), hidden: hidden, floats: true)
            }
            count = hidden
        }
    }

    /// A row that is summed.
    struct Part {
        var row: UnsafeRawPointer
        var weight: Float
        /// Whether the row is BF16 and counts as what `encode` would make of it.
        var isPlain: Bool
    }

    /// out = Σ weight · part in floats, rounded once to BF16 unless it is to be floats: a product is rounded before it
    /// is added.
    static func sum(_ parts: [Part], to out: UnsafeMutableRawPointer, hidden: Int, floats: Bool = false) {
        let count = parts.count
        // Pointers and cursors, then weights, then flags.
        withUnsafeTemporaryAllocation(byteCount: LogFMT.scratchBytes + 21 * count, alignment: 64) { bytes in
            guard let scratch = bytes.baseAddress else { return }
            let rows = (scratch + LogFMT.scratchBytes).bindMemory(to: UnsafeRawPointer.self, capacity: 2 * count)
            let weights = UnsafeMutableRawPointer(rows + 2 * count).bindMemory(to: Float.self, capacity: count)
            let arePlain = UnsafeMutableRawPointer(weights + count).bindMemory(to: Bool.self, capacity: count)
            for (index, part) in parts.enumerated() {
                (rows + index).initialize(to: part.row)
                (rows + count + index).initialize(to: part.row)
                (weights + index).initialize(to: part.weight)
                (arePlain + index).initialize(to: part.isPlain)
            }
            withUnsafePointer(
                to: LogFMTSumArguments(
                    parts: rows, arePlain: arePlain, cursors: rows + count, partCount: count, weights: weights,
                    out: out, count: hidden, floats: floats, scratch: scratch)
            ) { kernels.sum($0) }
        }
    }
}
