// SPDX-License-Identifier: MIT

public import Platform

/// The experts that a gate chose for one rank's tokens.
public struct TopKSelection: Sendable, Hashable {
    /// Choices per token.
    public let topK: Int
    /// [tokens, topK] expert ids; −1 means no choice.
    public let experts: [Int32]
    /// [tokens, topK] weights, or nothing where only tokens travel.
    public let weights: [Float]?

    /// - Throws: `usage` where the shapes do not fit together.
    public init(topK: Int, experts: [Int32], weights: [Float]? = nil) throws(FathomError) {
        guard topK >= 0, topK == 0 ? experts.isEmpty : experts.count % topK == 0 else {
            throw FathomError(.usage, "\(experts.count) expert ids are not whole rows of top-\(topK)")
        }
        if let weights, weights.count != experts.count {
            throw FathomError(.usage, "\(weights.count) weights for \(experts.count) expert ids; one for each is legal")
        }
        self.topK = topK
        self.experts = experts
        self.weights = weights
    }

    public var tokenCount: Int { topK == 0 ? 0 : experts.count / topK }

    /// The choices of one token.
    public func choices(of token: Int) -> ArraySlice<Int32> { experts[token * topK..<(token + 1) * topK] }

    /// - Throws: `badData` naming the first id that is neither −1 nor an expert.
    func check(_ placement: ExpertPlacement) throws(FathomError) {
        for (index, id) in experts.enumerated() where id < -1 || id >= placement.expertCount {
            throw FathomError(
                .badData,
                """
                token \(index / topK), choice \(index % topK): expert \(id); -1 and 0 to \
                \(placement.expertCount - 1) are legal
                """)
        }
    }
}
