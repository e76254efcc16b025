// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import LowPrecision
import Platform
import TestSupport

/// Rows of numbers as a gate takes them, and what they are after rounding.
struct GateRows {
    let rows: FloatRows
    let numbers: [Float]
    let count: Int
    let width: Int
    private let memory: AnyObject

    init(_ numbers: [Float], width: Int, element: FloatRows.Element = .float32) throws {
        count = numbers.count / max(width, 1)
        self.width = width
        if element == .float32 {
            let memory = GuardedBuffer<Float>(numbers)
            self.memory = memory
            self.numbers = numbers
            rows = try FloatRows(memory.start, element: element, rowCount: count, columnCount: width)
        } else {
            let short = numbers.map { BFloat16($0) }
            let memory = GuardedBuffer<UInt16>(short.map(\.bitPattern), filler: 0)
            self.memory = memory
            self.numbers = short.map { Float($0) }
            rows = try FloatRows(memory.start, element: element, rowCount: count, columnCount: width)
        }
    }

    /// Random rows.
    init(count: Int, width: Int, seed: UInt64, factor: Float = 1, element: FloatRows.Element) throws {
        var random = RandomNumbers(seed: seed)
        try self.init(random.normals(count * width).map { $0 * factor }, width: width, element: element)
    }
}

/// A gate whose logits are given: tokens are unit vectors and the weight has the logits as columns, so that every
/// product is exact.
struct ExactGate {
    let x: GateRows
    let weight: GateRows
    /// [tokens][experts].
    let logits: [[Float]]

    init(_ logits: [[Float]]) throws {
        self.logits = logits
        let (tokens, experts) = (logits.count, logits[0].count)
        x = try GateRows(
            (0..<tokens * tokens).map { $0 / tokens == $0 % tokens ? 1 : 0 }, width: tokens)
        weight = try GateRows(
            (0..<experts * tokens).map { logits[$0 % tokens][$0 / tokens] }, width: tokens)
    }

    func callAsFunction(
        _ routing: ExpertRouting, bias: GateBias? = nil, mask: [Bool]? = nil, choice: GateChoice = .scores,
        replicas: ExpertReplicas? = nil, threads: Int = 2
    ) throws -> GateResult {
        try megaGate(
            x.rows, weight: weight.rows, routing: routing, bias: bias, mask: mask, choice: choice,
            replicas: replicas, on: ComputeContext(threadCount: threads))
    }
}

extension GateResult {
    /// A token's experts.
    func experts(of token: Int) -> [Int] {
        experts[token * choicesPerToken..<(token + 1) * choicesPerToken].map { Int($0) }
    }
    /// A token's weights.
    func weights(of token: Int) -> [Float] {
        Array(weights[token * choicesPerToken..<(token + 1) * choicesPerToken])
    }
}
