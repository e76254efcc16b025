// SPDX-License-Identifier: MIT

public import Platform
public import Tensors

/// The tokens that a dispatch brought to this rank, in order of (source rank, token there).
///
/// The rows lie where they landed, in memory that the next dispatch of the same exchange writes to, or in memory of
/// their own where the landing area was too small; `copy` takes them out.
public final class ReceivedTokens: @unchecked Sendable {
    // SAFETY: @unchecked Sendable because everything is written before the value is handed out, and only read after.

    public let format: RowFormat
    /// Choices per token.
    public let topK: Int
    /// Whether the sources gave weights.
    public let hasWeights: Bool
    /// The experts of this rank.
    public let experts: Range<Int>
    /// The first token of each source rank, and the total behind the last.
    public let firstTokenOfSource: [Int]
    private let memory: ExchangeMemory
    private let base: UnsafeRawPointer
    /// What keeps the memory.
    private let owner: AnyObject

    init(
        memory: ExchangeMemory, experts: Range<Int>, hasWeights: Bool, firstTokenOfSource: [Int],
        base: UnsafeRawPointer, owner: AnyObject
    ) {
        self.memory = memory
        self.experts = experts
        self.hasWeights = hasWeights
        self.firstTokenOfSource = firstTokenOfSource
        self.base = base
        self.owner = owner
        format = memory.format
        topK = memory.topK
    }

    public var count: Int { firstTokenOfSource[firstTokenOfSource.count - 1] }

    /// Bytes from one token's row to the next.
    public var stride: Int { memory.recordStride }

    private func record(_ index: Int) -> UnsafeRawPointer {
        precondition(index >= 0 && index < count, "there are \(count) tokens")
        return base + index * memory.recordStride
    }

    /// The numbers of a token: `format.dataBytes` bytes, valid while this object lives and no other dispatch begins.
    public func row(_ index: Int) -> UnsafeRawPointer { record(index) }

    /// All rows where they lie, with gaps between them; for returning them as they came.
    public var rows: TokenRows { TokenRows(base: base, count: count, stride: stride, owners: [owner]) }

    /// The scales of an FP8 token: `format.scaleBytes` bytes, valid as long as `row`.
    public func scales(_ index: Int) -> UnsafeRawPointer { record(index) + format.scaleOffset }

    /// The token's number at its source.
    public func sourceToken(_ index: Int) -> Int {
        Int(record(index).load(fromByteOffset: memory.tokenOffset, as: Int32.self))
    }

    /// The rank that sent the token.
    public func sourceRank(_ index: Int) -> Int {
        var low = 0
        var high = firstTokenOfSource.count - 1
        while high - low > 1 {
            let middle = (low + high) / 2
            if firstTokenOfSource[middle] <= index { low = middle } else { high = middle }
        }
        return low
    }

    /// The expert that a token chose, counted from the first of this rank; −1 for none and for experts elsewhere.
    public func localExpert(_ index: Int, choice: Int) -> Int {
        precondition(choice >= 0 && choice < topK, "there are \(topK) choices")
        let id = Int(record(index).load(fromByteOffset: memory.expertsOffset + 4 * choice, as: Int32.self))
        return experts.contains(id) ? id - experts.lowerBound : -1
    }

    /// The weight of a choice; 0 where `localExpert` is −1 or there are no weights.
    public func weight(_ index: Int, choice: Int) -> Float {
        guard hasWeights, localExpert(index, choice: choice) >= 0 else { return 0 }
        return record(index).load(fromByteOffset: memory.weightsOffset + 4 * choice, as: Float.self)
    }

    /// The rows one after another without gaps, and their scales likewise, in memory of their own.
    public func copy() throws(FathomError) -> (rows: AlignedBuffer<UInt8>, scales: AlignedBuffer<UInt8>) {
        let rows = try AlignedBuffer<UInt8>(count: count * format.dataBytes, purpose: "received tokens")
        let scales = try AlignedBuffer<UInt8>(count: count * format.scaleBytes, purpose: "received scales")
        for index in 0..<count {
            // SAFETY: both buffers have room for every row; a record has both parts.
            UnsafeMutableRawPointer(rows.baseAddress + index * format.dataBytes)
                .copyMemory(from: row(index), byteCount: format.dataBytes)
            UnsafeMutableRawPointer(scales.baseAddress + index * format.scaleBytes)
                .copyMemory(from: self.scales(index), byteCount: format.scaleBytes)
        }
        return (rows, scales)
    }
}
