// SPDX-License-Identifier: MIT

internal import LowPrecision
public import Platform

/// Dispatch and combine over all ranks' data in one process: what the protocols have to reproduce, bit for bit.
public struct ReferenceExchange: Sendable {
    public let placement: ExpertPlacement
    public let selections: [TopKSelection]

    /// - Parameter selections: one for each rank.
    public init(placement: ExpertPlacement, selections: [TopKSelection]) throws(FathomError) {
        precondition(selections.count == placement.rankCount)
        for selection in selections { try selection.check(placement) }
        self.placement = placement
        self.selections = selections
    }

    /// A token as a rank receives it.
    public struct ReceivedToken: Sendable, Equatable {
        public var sourceRank: Int
        public var sourceToken: Int
        /// Bytes as the source gave them.
        public var row: [UInt8]
        /// [topK] ids counted from the rank's first expert; −1 for experts of other ranks.
        public var localExperts: [Int32]
        /// [topK] the source's weights; 0 beside −1. Empty where the source has none.
        public var weights: [Float]

        public init(sourceRank: Int, sourceToken: Int, row: [UInt8], localExperts: [Int32], weights: [Float]) {
            self.sourceRank = sourceRank
            self.sourceToken = sourceToken
            self.row = row
            self.localExperts = localExperts
            self.weights = weights
        }
    }

    /// What each rank receives, in order of (source rank, source token).
    ///
    /// - Parameter rows: [rank][token] bytes of a row.
    public func dispatch(_ rows: [[[UInt8]]]) -> [[ReceivedToken]] {
        (0..<placement.rankCount).map { target in
            let own = placement.experts(of: target)
            var received: [ReceivedToken] = []
            for (source, selection) in selections.enumerated() {
                for token in 0..<selection.tokenCount {
                    let choices = selection.choices(of: token)
                    let local = choices.map { own.contains(Int($0)) ? $0 - Int32(own.lowerBound) : -1 }
                    guard local.contains(where: { $0 >= 0 }) else { continue }
                    let weights = selection.weights.map { all in
                        zip(local, all[choices.indices]).map { $0 >= 0 ? $1 : 0 }
                    }
                    received.append(
                        ReceivedToken(
                            sourceRank: source, sourceToken: token, row: rows[source][token], localExperts: local,
                            weights: weights ?? []))
                }
            }
            return received
        }
    }

    /// Where sums are made on the way back.
    public enum Way: Sendable, CaseIterable {
        /// At the source alone.
        case direct
        /// On each node for its ranks, then at the source for the nodes; on one node that is direct.
        case twoHop
    }

    /// The sum of what the ranks return for each token: biases first, then ranks (or nodes) ascending, in floats.
    ///
    /// - Parameters:
    ///   - returned: [rank][received row] numbers, in the order of `dispatch`.
    ///   - biases: [rank] none, one or two lists of [token] rows that are added at the source.
    ///   - rounded: whether each hop's sum is rounded to BF16.
    /// - Returns: [rank][token] rows; zeros and the biases alone for a token that went nowhere.
    public func combine(
        _ returned: [[[Float]]], biases: [[[[Float]]]], hidden: Int, way: Way, rounded: Bool
    ) -> [[[Float]]] {
        // [source][token][rank] the index of the row that the rank returns.
        let places = placesOfRows()
        return selections.indices.map { source in
            (0..<selections[source].tokenCount).map { token in
                var sum = biasSum(biases[source], token: token, hidden: hidden)
                let holders = places[source][token]
                if way == .direct || placement.nodeCount == 1 {
                    for (rank, row) in holders { add(returned[rank][row], to: &sum) }
                } else {
                    for node in 0..<placement.nodeCount {
                        let onNode = holders.filter { placement.node(of: $0.rank) == node }
                        guard !onNode.isEmpty else { continue }
                        var partial = [Float](repeating: 0, count: hidden)
                        for (rank, row) in onNode { add(returned[rank][row], to: &partial) }
                        add(rounded ? partial.map(roundedToBFloat16) : partial, to: &sum)
                    }
                }
                return rounded ? sum.map(roundedToBFloat16) : sum
            }
        }
    }

    /// The sum of what the experts return for each choice of a token, weighted, in top-k order: one sum, at the source,
    /// so that it does not depend on where experts are.
    ///
    /// - Parameters:
    ///   - returned: [rank][token][choice] rows, of choices that are not −1.
    ///   - weighted: whether each row is multiplied by its weight first.
    public func combineChoices(
        _ returned: [[[[Float]]]], hidden: Int, weighted: Bool, rounded: Bool
    ) -> [[[Float]]] {
        selections.indices.map { source in
            let selection = selections[source]
            return (0..<selection.tokenCount).map { token in
                var sum = [Float](repeating: 0, count: hidden)
                for (choice, expert) in selection.choices(of: token).enumerated() where expert >= 0 {
                    let weight = weighted ? selection.weights?[token * selection.topK + choice] ?? 1 : 1
                    for (index, value) in returned[source][token][choice].enumerated() { sum[index] += weight * value }
                }
                return rounded ? sum.map(roundedToBFloat16) : sum
            }
        }
    }

    /// The top-k weights that come back beside combined rows: each choice's, from the rank that held its expert.
    public func combineWeights(_ returned: [[[Float]]]) -> [[[Float]]] {
        let places = placesOfRows()
        return selections.indices.map { source in
            (0..<selections[source].tokenCount).map { token in
                var sums = [Float](repeating: 0, count: selections[source].topK)
                for (rank, row) in places[source][token] { add(returned[rank][row], to: &sums) }
                return sums
            }
        }
    }

    /// [source][token] the ranks that received it, ascending, and the index of its row there.
    private func placesOfRows() -> [[[(rank: Int, row: Int)]]] {
        var places = selections.map { Array(repeating: [(rank: Int, row: Int)](), count: $0.tokenCount) }
        let received = dispatch(selections.map { Array(repeating: [], count: $0.tokenCount) })
        for (rank, tokens) in received.enumerated() {
            for (row, token) in tokens.enumerated() { places[token.sourceRank][token.sourceToken].append((rank, row)) }
        }
        return places
    }

    private func biasSum(_ biases: [[[Float]]], token: Int, hidden: Int) -> [Float] {
        var sum = [Float](repeating: 0, count: hidden)
        for bias in biases { add(bias[token], to: &sum) }
        return sum
    }

    private func add(_ row: [Float], to sum: inout [Float]) {
        for (index, value) in row.enumerated() { sum[index] += value }
    }

    private func roundedToBFloat16(_ value: Float) -> Float { Float(BFloat16(value)) }
}
