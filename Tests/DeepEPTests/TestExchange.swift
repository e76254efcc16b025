// SPDX-License-Identifier: MIT

import DeepEP
import Platform
import Ranks
import Tensors
import Testing

/// What a rank got out of a dispatch and its combine.
struct ExchangeOutcome: Sendable, Equatable {
    var received: [ReferenceExchange.ReceivedToken] = []
    var tokensPerLocalExpert: [Int] = []
    var combined: [[UInt8]] = []
    var weights: [[Float]]?
}

/// Runs exchanges on real ranks.
struct TestExchange {
    var group: TestGroup
    var twoHop = false
    var capacity: ExchangeCapacity
    /// [rank] biases of [token] rows.
    var biases: [[[[UInt8]]]]

    /// A buffer of rows.
    static func buffer(_ rows: [[UInt8]]) throws(FathomError) -> AlignedBuffer<UInt8> {
        let bytes = rows.flatMap(\.self)
        let buffer = try AlignedBuffer<UInt8>(count: bytes.count, purpose: "a test")
        for (index, byte) in bytes.enumerated() { buffer.baseAddress[index] = byte }
        return buffer
    }

    static func rows(
        _ rows: [[UInt8]], scales: [[UInt8]]? = nil, format: RowFormat
    ) throws(FathomError) -> TokenRows {
        var scaleBuffer: AlignedBuffer<UInt8>?
        if let scales { scaleBuffer = try buffer(scales) }
        return TokenRows(try buffer(rows), scales: scaleBuffer, count: rows.count, format: format)
    }

    static func bytes(_ start: UnsafeRawPointer, _ count: Int) -> [UInt8] {
        Array(UnsafeRawBufferPointer(start: start, count: count))
    }

    static func sums(_ combined: CombinedTokens, _ selection: TopKSelection, _ format: RowFormat) -> [[UInt8]] {
        (0..<selection.tokenCount).map {
            bytes(UnsafeRawPointer(combined.rows.baseAddress + $0 * format.dataBytes), format.dataBytes)
        }
    }

    /// Every received token, as the reference shows it.
    static func contents(_ tokens: ReceivedTokens) -> [ReferenceExchange.ReceivedToken] {
        (0..<tokens.count).map { index in
            ReferenceExchange.ReceivedToken(
                sourceRank: tokens.sourceRank(index), sourceToken: tokens.sourceToken(index),
                row: bytes(tokens.row(index), tokens.format.dataBytes),
                localExperts: (0..<tokens.topK).map { Int32(tokens.localExpert(index, choice: $0)) },
                weights: tokens.hasWeights ? (0..<tokens.topK).map { tokens.weight(index, choice: $0) } : [])
        }
    }

    /// A dispatch, and a combine that returns what came, on one rank.
    func run(_ ranks: RankGroup, rounds: Int = 2) throws(FathomError) -> [ExchangeOutcome] {
        let exchange = try ExpertExchange(
            group: ranks, placement: group.placement, format: group.format, topK: group.selections[0].topK,
            capacity: capacity, twoHop: twoHop)
        let rank = ranks.rank
        let selection = group.selections[rank]
        let format = group.format
        var handle: DispatchHandle?
        var outcomes: [ExchangeOutcome] = []
        for _ in 0..<rounds {
            var outcome = ExchangeOutcome()
            let input = try Self.rows(group.rows[rank], format: format)
            let result = try exchange.dispatch(input, selection, reusing: handle)
            outcome.received = Self.contents(result.tokens)
            outcome.tokensPerLocalExpert = result.handle.tokensPerLocalExpert
            var options = ExpertExchange.CombineOptions()
            if selection.weights != nil { options.weights = outcome.received.flatMap(\.weights) }
            for bias in biases[rank] { options.biases.append(try Self.rows(bias, format: format)) }
            let returned = try Self.rows(outcome.received.map(\.row), format: format)
            let combined: CombinedTokens
            if let area = exchange.returnArea(for: result.handle) {
                // SAFETY: the area has a row for each received token.
                for (index, token) in outcome.received.enumerated() {
                    token.row.withUnsafeBytes { bytes in
                        if let start = bytes.baseAddress {
                            (area + index * exchange.returnStride).copyMemory(from: start, byteCount: bytes.count)
                        }
                    }
                }
                combined = try exchange.combineReturnArea(handle: result.handle, options: options)
                let copied = try exchange.combine(returned, handle: result.handle, options: options)
                #expect(Self.sums(copied, selection, format) == Self.sums(combined, selection, format))
                let begun = try exchange.beginCombineReturnArea(handle: result.handle, options: options).wait()
                #expect(Self.sums(begun, selection, format) == Self.sums(combined, selection, format))
            } else {
                combined = try exchange.combine(returned, handle: result.handle, options: options)
            }
            outcome.combined = Self.sums(combined, selection, format)
            outcome.weights = combined.weights.map { all in
                (0..<selection.tokenCount).map { Array(all[$0 * selection.topK..<($0 + 1) * selection.topK]) }
            }
            outcomes.append(outcome)
            handle = result.handle
        }
        return outcomes
    }

    /// What the reference makes of it.
    func reference() throws(FathomError) -> [ExchangeOutcome] {
        let reference = try ReferenceExchange(placement: group.placement, selections: group.selections)
        let received = reference.dispatch(group.rows)
        let sums = reference.combine(
            received.map { $0.map { TestGroup.numbers($0.row) } },
            biases: biases.map { $0.map { $0.map { TestGroup.numbers($0) } } }, hidden: group.format.hidden,
            way: twoHop ? .twoHop : .direct, rounded: true)
        let weights = reference.combineWeights(received.map { $0.map(\.weights) })
        return group.selections.indices.map { rank in
            ExchangeOutcome(
                received: received[rank],
                tokensPerLocalExpert: group.placement.experts(of: rank).map { expert in
                    group.selections.reduce(0) { $0 + $1.experts.count { Int($0) == expert } }
                },
                combined: sums[rank].map(TestGroup.bytes),
                weights: group.selections[rank].weights == nil ? nil : weights[rank])
        }
    }
}
