// SPDX-License-Identifier: MIT

internal import Platform

// SAFETY: In this file places are computed inside memory that has the bytes that `MegaMoEMemory` counts.

/// The shape of a layer of experts that several ranks hold, the same at all of them.
struct MegaMoEShape: Equatable {
    var rankCount: Int
    var experts: Int
    var maximumTokens: Int
    var topK: Int
    var sharedExperts: Int
    var hidden: Int
    var intermediate: Int
    var rows: MegaMoEBuffer.Rows

    var localExperts: Int { experts / rankCount }
    var slotCount: Int { topK + sharedExperts }

    /// What is compared between ranks.
    var numbers: [Int] {
        [
            experts, maximumTokens, topK, sharedExperts, hidden, intermediate, rows.scaleColumns ?? 0,
            rows.scaleBytes,
        ]
    }

    /// - Throws: `usage` naming the number and what is legal.
    func check() throws(FathomError) {
        for (name, value, least, most) in [
            ("experts", experts, 1, 1 << 20), ("tokens of a rank", maximumTokens, 1, 1 << 24),
            ("choices of a token", topK, 1, 1 << 12), ("shared experts", sharedExperts, 0, 1 << 12),
            ("numbers of a token", hidden, 1, 1 << 20), ("columns between the products", intermediate, 1, 1 << 20),
        ] where value < least || value > most {
            throw FathomError(.usage, "a buffer for \(value) \(name); \(least)…\(most) is legal")
        }
        guard experts % rankCount == 0 else {
            throw FathomError(
                .usage,
                "\(experts) experts on \(rankCount) ranks; equally many on each are legal, a multiple of \(rankCount)")
        }
        if let columns = rows.scaleColumns, columns < 8 || columns % 8 != 0 {
            throw FathomError(
                .usage, "scales of tokens cover \(columns) numbers; a multiple of 8 is legal, such as 32 and 128")
        }
    }
}

/// How the memory that a rank shares with the others is divided; the same at every rank.
///
/// A token is a record: its numbers, then its scales.
struct MegaMoEMemory {
    var shape: MegaMoEShape

    private static func aligned(_ count: Int) -> Int { (count + 63) / 64 * 64 }

    // MARK: A record

    var numberBytes: Int { shape.hidden * shape.rows.format.bitCount / 8 }
    var scaleCount: Int { shape.rows.scaleColumns.map { ceilDivide(shape.hidden, $0) } ?? 0 }
    var scalesOffset: Int { (numberBytes + 3) / 4 * 4 }
    var recordBytes: Int { Self.aligned(scalesOffset + shape.rows.scaleBytes * scaleCount) }

    // MARK: Areas

    private var choiceCount: Int { shape.maximumTokens * shape.topK }

    /// [experts + 1] Int32: where the choices of each expert begin in the list.
    var startsOffset: Int { 0 }
    /// [tokens · topK] Int32: choices, expert after expert.
    var listOffset: Int { Self.aligned(4 * (shape.experts + 1)) }
    /// [tokens · topK] floats, by choice.
    var weightsOffset: Int { listOffset + Self.aligned(4 * choiceCount) }
    var recordsOffset: Int { weightsOffset + Self.aligned(4 * choiceCount) }
    var slotsOffset: Int { recordsOffset + shape.maximumTokens * recordBytes }
    var byteCount: Int { slotsOffset + shape.maximumTokens * shape.slotCount * shape.hidden * 2 }

    // MARK: Signals

    /// The word by which a rank says that its tokens can be read.
    func readyWord(from rank: Int) -> Int { rank }
    /// The word by which a rank says how far it is with this rank's tokens.
    func doneWord(from rank: Int) -> Int { shape.rankCount + rank }
    var signalCount: Int { 2 * shape.rankCount }

    /// Records from `base` on as an operand.
    func operand(_ base: UnsafeRawPointer, rowCount: Int) -> MatrixOperand {
        let format = shape.rows.format
        return MatrixOperand(
            base, format, rowCount: rowCount, columnCount: shape.hidden, stride: recordBytes * 8 / format.bitCount,
            scales: shape.rows.scaleColumns.map {
                BlockScales(
                    base + scalesOffset, encoding: shape.rows.scaleBytes == 4 ? .float32 : .ue8m0,
                    granularity: .perToken($0), rowStride: recordBytes / shape.rows.scaleBytes, blockStride: 1)
            })
    }

    /// Writes a row of `x` to a record.
    func store(_ x: OperandSlice, row: Int, to record: UnsafeMutableRawPointer) {
        record.copyMemory(from: x.address(row: row, k: 0), byteCount: numberBytes)
        guard let scales = x.scales else { return }
        let out = record + scalesOffset
        if scales.encoding == .float32 {
            scales.gather(
                rows: row..<row + 1, blocks: 0..<scaleCount, segment: 0,
                into: out.assumingMemoryBound(to: Float.self))
        } else {
            let bytes = scales.base + row * scales.rowStride
            for block in 0..<scaleCount {
                let place =
                    scales.encoding == .ue8m0
                    ? block * scales.blockStride : block / 4 * scales.blockStride + block % 4
                out.storeBytes(
                    of: bytes.load(fromByteOffset: place, as: UInt8.self), toByteOffset: block, as: UInt8.self)
            }
        }
    }
}
