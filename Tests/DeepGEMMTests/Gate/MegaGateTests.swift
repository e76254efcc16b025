// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import Platform
import TestSupport
import Testing

/// A rule with extents.
struct GateCase: Sendable, CustomTestStringConvertible {
    var experts: Int
    var width: Int
    var tokens: Int
    var element: FloatRows.Element
    var routing: ExpertRouting
    var hasBias: Bool
    var testDescription: String {
        "\(tokens) tokens of \(width) \(element), \(routing.expertsPerToken) of \(experts) by \(routing.scoring)"
            + (routing.groups.map { " in \($0.kept) of \($0.count) groups" } ?? "")
    }

    /// DeepSeek's routers and odd ones.
    static let all = [
        GateCase(
            experts: 256, width: 512, tokens: 70, element: .bfloat16,
            routing: ExpertRouting(
                expertsPerToken: 8, scalingFactor: 2.5, groups: ExpertRouting.Groups(count: 8, kept: 4)),
            hasBias: true),
        GateCase(
            experts: 256, width: 256, tokens: 33, element: .bfloat16,
            routing: ExpertRouting(
                scoring: .sqrtSoftplus, expertsPerToken: 6, scalingFactor: 1.5, sharedExperts: 1), hasBias: true),
        GateCase(
            experts: 160, width: 300, tokens: 19, element: .bfloat16,
            routing: ExpertRouting(
                scoring: .softmax, expertsPerToken: 6, normalizes: false, scalingFactor: 16,
                groups: ExpertRouting.Groups(count: 8, kept: 3, score: .largest), order: .ascendingExpert),
            hasBias: false),
        GateCase(
            experts: 37, width: 65, tokens: 5, element: .float32,
            routing: ExpertRouting(scoring: .identity, expertsPerToken: 37, normalizes: false), hasBias: true),
        GateCase(
            experts: 12, width: 7, tokens: 1, element: .float32,
            routing: ExpertRouting(
                scoring: .sigmoid, expertsPerToken: 3, groups: ExpertRouting.Groups(count: 12, kept: 5),
                sharedExperts: 2), hasBias: false),
        GateCase(
            experts: 1, width: 3, tokens: 4, element: .bfloat16, routing: ExpertRouting(expertsPerToken: 1),
            hasBias: false),
    ]
}

@Suite("Mega Gate")
struct MegaGateTests {
    @Test("Every rule agrees with the reference in Double, at every instruction-set level", arguments: GateCase.all)
    func reference(test: GateCase) throws {
        let x = try GateRows(count: test.tokens, width: test.width, seed: 1, element: test.element)
        let weight = try GateRows(
            count: test.experts, width: test.width, seed: 2, factor: 0.1, element: test.element)
        var random = RandomNumbers(seed: 3)
        let bias = test.hasBias ? random.normals(test.experts).map { $0 * 0.2 - 1 } : nil
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 3, level: level)
            let found = try megaGate(
                x.rows, weight: weight.rows, routing: test.routing, bias: bias.map { GateBias($0) }, on: context)
            #expect(found.tokenCount == test.tokens && found.choicesPerToken == test.routing.choicesPerToken)
            #expect(found.slots == found.experts)
            let shared = test.experts..<test.experts + test.routing.sharedExperts
            for token in 0..<test.tokens {
                let logits = (0..<test.experts).map { expert in
                    (0..<test.width).reduce(0.0) {
                        $0 + Double(x.numbers[token * test.width + $1])
                            * Double(weight.numbers[expert * test.width + $1])
                    }
                }
                let expected = referenceGate(logits: logits, bias: bias.map { $0.map { Double($0) } }, test.routing)
                #expect(found.experts(of: token) == expected.map(\.expert) + Array(shared), "token \(token)")
                for (weight, choice) in zip(found.weights(of: token), expected) {
                    #expect(abs(Double(weight) - choice.weight) <= 2e-5 * abs(choice.weight) + 1e-5)
                }
                #expect(found.weights(of: token).suffix(shared.count).allSatisfy { $0 == 1 })
            }
        }
    }

    @Test("A token's experts and weights do not depend on its neighbours, the threads or the slab")
    func independence() throws {
        let test = GateCase.all[0]
        // More tokens than the gate holds logits of at a time.
        let x = try GateRows(count: 4150, width: 64, seed: 1, element: .bfloat16)
        let weight = try GateRows(count: 64, width: 64, seed: 2, factor: 0.2, element: .bfloat16)
        let context = try ComputeContext(threadCount: 1)
        let all = try megaGate(x.rows, weight: weight.rows, routing: test.routing, on: context)
        for threads in 2...4 {
            let team = try ComputeContext(threadCount: threads)
            #expect(try megaGate(x.rows, weight: weight.rows, routing: test.routing, on: team) == all)
        }
        for token in [0, 1, 17, 4095, 4096, 4149] {
            let one = try GateRows(
                Array(x.numbers[token * 64..<(token + 1) * 64]), width: 64, element: .bfloat16)
            let found = try megaGate(one.rows, weight: weight.rows, routing: test.routing, on: context)
            #expect(found.experts(of: 0) == all.experts(of: token) && found.weights(of: 0) == all.weights(of: token))
        }
    }

    @Test("Equal scores choose the lower index, of experts and of groups", arguments: ExpertRouting.Scoring.allCases)
    func ties(scoring: ExpertRouting.Scoring) throws {
        var random = RandomNumbers(seed: 61)
        let logits = (0..<60).map { _ in (0..<24).map { _ in Float(random.number(below: 3)) } }
        let gate = try ExactGate(logits)
        for groups in [nil, ExpertRouting.Groups(count: 6, kept: 3), .init(count: 4, kept: 2, score: .largest)] {
            for order in ExpertRouting.Order.allCases {
                let routing = ExpertRouting(scoring: scoring, expertsPerToken: 7, groups: groups, order: order)
                let found = try gate(routing, bias: GateBias([Float](repeating: 0.25, count: 24)))
                for token in logits.indices {
                    let expected = referenceGate(
                        logits: logits[token].map { Double($0) }, bias: [Double](repeating: 0.25, count: 24), routing)
                    #expect(found.experts(of: token) == expected.map(\.expert))
                }
            }
        }
        let flat = try ExactGate([[Float](repeating: 1, count: 24)])
        #expect(try flat(ExpertRouting(scoring: scoring, expertsPerToken: 5)).experts == [0, 1, 2, 3, 4])
    }

    @Test("The bias takes part in choosing and not in weighting; some tokens may have another one")
    func biases() throws {
        let gate = try ExactGate([[2, 1, 0, -1], [2, 1, 0, -1], [2, 1, 0, -1]])
        let routing = ExpertRouting(scoring: .identity, expertsPerToken: 2, normalizes: false, scalingFactor: 2)
        let bias = GateBias([0, 0, 5, 0], other: [-9, -9, 0, 0], where: [false, true, false])
        let found = try gate(routing, bias: bias)
        #expect(found.experts == [2, 0, 2, 3, 2, 0] && found.weights == [0, 4, 0, -2, 0, 4])
        let normalized = try gate(
            ExpertRouting(scoring: .sigmoid, expertsPerToken: 2, scalingFactor: 2.5), bias: bias)
        for token in 0..<3 { #expect(abs(normalized.weights(of: token).reduce(0, +) - 2.5) < 1e-5) }
    }

    @Test("Masked tokens have no experts, given ones are taken, random ones come from the seed")
    func choices() throws {
        var random = RandomNumbers(seed: 5)
        let logits = (0..<300).map { _ in random.normals(32) }
        let gate = try ExactGate(logits)
        let routing = ExpertRouting(expertsPerToken: 4, sharedExperts: 1)
        let byScore = try gate(routing)
        let mask = (0..<300).map { $0 % 3 != 1 }
        let masked = try gate(routing, mask: mask)
        let fixed = (0..<300 * 4).map { Int32(($0 * 7) % 33 - 1) }
        let some = (0..<300).map { $0 % 2 == 0 }
        let given = try gate(routing, choice: .given(fixed, tokens: some))
        for token in 0..<300 {
            let none =
                masked.experts(of: token) == [-1, -1, -1, -1, -1] && masked.weights(of: token) == [0, 0, 0, 0, 0]
            #expect(mask[token] ? masked.experts(of: token) == byScore.experts(of: token) : none)
            if !some[token] {
                #expect(given.experts(of: token) == byScore.experts(of: token))
                continue
            }
            let row = fixed[token * 4..<token * 4 + 4].map { Int($0) }
            #expect(given.experts(of: token) == row + [32])
            let expected = referenceGate(logits: logits[token].map { Double($0) }, given: row, routing)
            for (weight, choice) in zip(given.weights(of: token), expected) {
                #expect(abs(Double(weight) - choice.weight) < 1e-5)
            }
        }
        let drawn = try gate(routing, choice: .random(seed: 9))
        #expect(try drawn == gate(routing, choice: .random(seed: 9), threads: 1))
        #expect(try drawn != gate(routing, choice: .random(seed: 10)))
        var counts = [Int](repeating: 0, count: 32)
        for token in 0..<300 {
            let chosen = drawn.experts(of: token).prefix(4)
            #expect(Set(chosen).count == 4)
            for expert in chosen { counts[expert] += 1 }
        }
        // 37.5 on average, with a deviation of 6.
        #expect(counts.allSatisfy { 10...70 ~= $0 })
    }

    @Test("NaN comes after every number, and infinite logits give weights")
    func extremes() throws {
        let nan = Float.nan
        let gate = try ExactGate([[1, -2, 3, 0.5]])
        // Products with NaN would reach every token, so the weight has one token.
        let poisoned = try ExactGate([[nan, 1, nan, 2]])
        for scoring in [ExpertRouting.Scoring.sigmoid, .sqrtSoftplus, .identity] {
            let two = try poisoned(ExpertRouting(scoring: scoring, expertsPerToken: 2))
            #expect(two.experts == [3, 1] && two.weights.allSatisfy { $0.isFinite })
            let four = try poisoned(ExpertRouting(scoring: scoring, expertsPerToken: 4))
            #expect(four.experts == [3, 1, 0, 2] && four.weights.allSatisfy { $0.isNaN })
            let groups = ExpertRouting(
                scoring: scoring, expertsPerToken: 2, groups: ExpertRouting.Groups(count: 2, kept: 1))
            #expect(try poisoned(groups).experts.allSatisfy { 0..<4 ~= $0 })
            let bias = GateBias([nan, 0, 0, nan])
            #expect(try gate(ExpertRouting(scoring: scoring, expertsPerToken: 2), bias: bias).experts == [2, 1])
            let large = try ExactGate([[3e38, -3e38, 1e30, -1e30]])
            let found = try large(ExpertRouting(scoring: scoring, expertsPerToken: 3, normalizes: false))
            #expect(found.experts == (scoring == .identity ? [0, 2, 3] : [0, 2, 1]))
            #expect(found.weights.allSatisfy { $0.isFinite })
        }
        let all = try ExactGate([[nan, nan, nan]])
        #expect(try all(ExpertRouting(scoring: .softmax, expertsPerToken: 3)).experts == [0, 1, 2])
    }
}
