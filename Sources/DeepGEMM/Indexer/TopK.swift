// SPDX-License-Identifier: MIT

public import KernelDispatch
public import Platform
internal import Tensors
internal import Workers

/// The columns of the `count` largest logits of each row, largest first, of equals the lower column first.
///
/// −∞ and NaN are never chosen: where fewer numbers are left, the rest of the row is −1. Exact and deterministic.
/// Memory beyond the result: 8 KiB and 8 · `count` bytes per thread.
///
/// - Parameters:
///   - limits: if given, row i is searched in columns 0 ..< limits[i] only (clamped to the columns there are), so that
///     logits need not be cleaned.
/// - Returns: [rowCount, count], row-major.
/// - Throws: `usage` for a negative count or a wrong number of limits.
public func topK(
    _ logits: IndexerLogits, count: Int, limits: [Int]? = nil, on context: ComputeContext
) throws(FathomError) -> [Int32] {
    guard count >= 0, count <= topKLimit else {
        throw FathomError(.usage, "top-k with k = \(count); 0…\(topKLimit) is legal")
    }
    guard logits.columnCount <= Int(Int32.max) else {
        throw FathomError(.usage, "top-k over \(logits.columnCount) columns; at most \(Int32.max) is legal")
    }
    if let limits, limits.count != logits.rowCount {
        throw FathomError(.usage, "\(limits.count) limits for \(logits.rowCount) rows; one each is legal")
    }
    var result = [Int32](repeating: -1, count: try elementCount([logits.rowCount, count], of: "top-k's result"))
    guard count > 0, logits.rowCount > 0 else { return result }
    let kept = min(count, logits.columnCount)
    let threads = context.team.threadCount
    let pairs = try AlignedBuffer<UInt64>(
        count: elementCount([threads, kept], of: "top-k's candidates"), purpose: "top-k's candidates")
    let histograms = try AlignedBuffer<Int32>(count: threads * TopKRow.bins, purpose: "top-k's counters")
    let bundle = max(1, ceilDivide(logits.rowCount, 1 << 18))
    result.withUnsafeMutableBufferPointer { out in
        // SAFETY: each row writes its own `count` places; each worker has its own candidates and counters.
        guard let base = out.baseAddress else { return }
        nonisolated(unsafe) let place = base
        context.team.run(taskCount: ceilDivide(logits.rowCount, bundle)) { task, worker in
            for row in task * bundle..<min((task + 1) * bundle, logits.rowCount) {
                let width = max(0, min(limits?[row] ?? logits.columnCount, logits.columnCount))
                TopKRow(
                    logits: logits, row: row, width: width, pairs: pairs.baseAddress + worker * kept,
                    histogram: histograms.baseAddress + worker * TopKRow.bins
                ).select(kept, to: place + row * count)
            }
        }
    }
    return result
}

/// The largest k, which bounds the memory of the result and of the candidates.
private let topKLimit = 1 << 20

/// The selection in one row.
///
/// Numbers are mapped to integers of the same order, and the k-th largest is found by counting digit after digit,
/// eleven bits at a time. What lies above it is chosen, and of its equals the first.
private struct TopKRow {
    static let bins = 2048

    let logits: IndexerLogits
    let row: Int
    let width: Int
    let pairs: UnsafeMutablePointer<UInt64>
    let histogram: UnsafeMutablePointer<Int32>

    /// The order of a logit among integers; 0 for what is never chosen.
    private func rank(_ column: Int) -> UInt32 {
        let index = row * logits.rowStride + column
        // SAFETY: the column is inside the row.
        let bits =
            switch logits.element {
            case .float32: logits.baseAddress.load(fromByteOffset: index * 4, as: UInt32.self)
            case .bfloat16: UInt32(logits.baseAddress.load(fromByteOffset: index * 2, as: UInt16.self)) << 16
            }
        if bits & 0x7FFF_FFFF > 0x7F80_0000 || bits == 0xFF80_0000 { return 0 }
        // −0 and +0 are equal.
        if bits & 0x7FFF_FFFF == 0 { return 0x8000_0000 }
        return bits & 0x8000_0000 != 0 ? ~bits : bits | 0x8000_0000
    }

    /// Writes up to `count` columns to `out`.
    func select(_ count: Int, to out: UnsafeMutablePointer<Int32>) {
        var (threshold, ties) = self.threshold(count)
        var found = 0
        for column in 0..<width {
            let rank = rank(column)
            guard rank != 0, rank >= threshold else { continue }
            if rank == threshold {
                guard ties > 0 else { continue }
                ties -= 1
            }
            // Descending order of these integers is descending rank and, among equals, ascending column.
            // SAFETY: at most `count` candidates pass, which is the room there is.
            pairs[found] = UInt64(rank) << 32 | UInt64(~UInt32(column))
            found += 1
        }
        // SAFETY: so many candidates were written above.
        var chosen = UnsafeMutableBufferPointer(start: pairs, count: found)
        chosen.sort(by: >)
        for index in 0..<found {
            out[index] = Int32(bitPattern: ~UInt32(truncatingIfNeeded: pairs[index]))
        }
    }

    /// The rank of the `count`-th largest number, and how many of that rank are to be taken. (0, 0) if fewer are there.
    private func threshold(_ count: Int) -> (rank: UInt32, ties: Int) {
        var prefix: UInt32 = 0
        var left = count
        // Digits of 11, 11 and 10 bits, the highest first.
        for (shift, bits) in [(21, 11), (10, 11), (0, 10)] as [(UInt32, UInt32)] {
            histogram.update(repeating: 0, count: Self.bins)
            let above = shift + bits
            for column in 0..<width {
                let rank = rank(column)
                // SAFETY: a digit is below 2048.
                if rank != 0, above == 32 || rank >> above == prefix >> above {
                    histogram[Int(rank >> shift & ((1 << bits) - 1))] += 1
                }
            }
            var digit = Int(1 << bits) - 1
            while digit >= 0, Int(histogram[digit]) < left {
                left -= Int(histogram[digit])
                digit -= 1
            }
            guard digit >= 0 else { return (0, 0) }
            prefix |= UInt32(digit) << shift
        }
        return (prefix, left)
    }
}
