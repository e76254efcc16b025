// SPDX-License-Identifier: MIT

public import Platform

/// What a low-latency exchange is made for; the same at every rank of a group.
public struct LowLatencyShape: Sendable, Hashable {
    /// How rows come back from the experts.
    public enum Return: Sendable, Hashable {
        case bfloat16
        /// Ten bits a number, in blocks of 128: see ``LogFMT10``.
        case logFMT10
    }

    public let placement: ExpertPlacement
    /// Rows as experts receive them. They are given in BF16 and quantised on the way where this is FP8.
    public let format: RowFormat
    public let returnFormat: Return
    /// Choices per token.
    public let topK: Int
    /// Tokens of each rank at most.
    public let tokensPerRank: Int

    /// Tokens of each rank at most: this way is for small batches.
    public static let maximumTokensPerRank = 1 << 16
    /// Address space of a rank at most.
    static let maximumBytes = 1 << 44

    /// - Parameter element: BF16, or FP8 with one scale for 128 numbers: a float, or a byte (UE8M0) of a packed word.
    /// - Throws: `usage` for numbers that are out of range.
    public init(
        placement: ExpertPlacement, hidden: Int, element: RowFormat.Element, returning: Return = .bfloat16, topK: Int,
        tokensPerRank: Int
    ) throws(FathomError) {
        guard element != .float32 else {
            throw FathomError(.usage, "low-latency rows in float32; BF16 and FP8 are legal")
        }
        guard topK >= 1, topK <= ExpertExchange.maximumTopK else {
            throw FathomError(.usage, "top-\(topK); 1 to \(ExpertExchange.maximumTopK) are legal")
        }
        guard tokensPerRank >= 1, tokensPerRank <= Self.maximumTokensPerRank else {
            throw FathomError(
                .usage, "\(tokensPerRank) tokens a rank; 1 to \(Self.maximumTokensPerRank) are legal")
        }
        self.placement = placement
        format = try RowFormat(hidden: hidden, element: element)
        returnFormat = returning
        self.topK = topK
        self.tokensPerRank = tokensPerRank
        let slots = Double(placement.rankCount) * Double(tokensPerRank) * Double(expertsPerRank)
        guard 16 * slots * Double(format.hidden + 64) < Double(Self.maximumBytes) else {
            throw FathomError(
                .usage,
                """
                \(placement.rankCount) ranks of \(tokensPerRank) tokens, \(expertsPerRank) experts each, rows of \
                \(hidden) numbers: too many slots for one address space
                """)
        }
    }

    /// Experts of a rank at most.
    public var expertsPerRank: Int { (placement.expertCount + placement.rankCount - 1) / placement.rankCount }

    /// Rows that each local expert has room for: those of every token of every rank.
    public var slotsPerExpert: Int { placement.rankCount * tokensPerRank }

    /// Rows that one rank sends to another at most: a token goes to an expert once.
    var rowsPerStream: Int { tokensPerRank * min(topK, expertsPerRank) }
}
