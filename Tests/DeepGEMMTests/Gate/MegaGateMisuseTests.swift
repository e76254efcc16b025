// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import Platform
import TestSupport
import Testing

@Suite("Mega Gate: replicas and misuse")
struct MegaGateMisuseTests {
    @Test("Each rank uses its own copy of an expert, else copy number rank mod count")
    func replicas() throws {
        // Two slots on each of three ranks: expert 0 in slots 0, 3 and 4, expert 1 in 1 and 2, expert 2 in 5.
        let map: [Int32] = [0, 3, 4, 1, 2, -1, 5, -1, -1]
        let gate = try ExactGate([[3, 2, 1], [1, 2, 3]])
        let routing = ExpertRouting(scoring: .identity, expertsPerToken: 2)
        for (rank, local, plain) in [
            (0, [0, 1, 5], [0, 1, 5]), (1, [3, 2, 5], [3, 2, 5]), (2, [4, 1, 5], [4, 1, 5]),
        ] {
            for (slots, size) in [(local, 2), (plain, nil)] as [([Int], Int?)] {
                let replicas = try ExpertReplicas(logicalToPhysical: map, width: 3, rank: rank, slotsPerRank: size)
                #expect(replicas.slots.map { Int($0) } == slots)
                let found = try gate(routing, mask: [true, rank != 1], replicas: replicas)
                #expect(found.experts(of: 0) == [0, 1])
                #expect(found.slots.prefix(2).map { Int($0) } == [slots[0], slots[1]])
                #expect(found.slots.suffix(2).map { Int($0) } == (rank == 1 ? [-1, -1] : [slots[2], slots[1]]))
            }
        }
        // Where the two rules differ: rank 1's own copy of expert 0 is its third one.
        let far: [Int32] = [0, 4, 2]
        #expect(try ExpertReplicas(logicalToPhysical: far, width: 3, rank: 1, slotsPerRank: 2).slots == [2])
        #expect(try ExpertReplicas(logicalToPhysical: far, width: 3, rank: 1).slots == [4])
        #expect(try ExpertReplicas(logicalToPhysical: far, width: 3, rank: 3, slotsPerRank: 2).slots == [0])
    }

    @Test("Shared experts have slots of their own")
    func sharedSlots() throws {
        let gate = try ExactGate([[3, 2, 1]])
        let routing = ExpertRouting(scoring: .identity, expertsPerToken: 1, sharedExperts: 2)
        let replicas = try ExpertReplicas(logicalToPhysical: [7, 6, 5, 1, 0], width: 1, rank: 0)
        let found = try gate(routing, replicas: replicas)
        #expect(found.experts == [0, 3, 4] && found.slots == [7, 1, 0])
    }

    @Test("Maps that are none are refused, naming expert and copy")
    func badMaps() throws {
        func attempt(_ map: [Int32], width: Int, rank: Int = 0, size: Int? = nil) throws(FathomError) {
            _ = try ExpertReplicas(logicalToPhysical: map, width: width, rank: rank, slotsPerRank: size)
        }
        expectFailure(.badData, naming: ["expert 1", "copy 0", "-1"]) { () throws(FathomError) in
            try attempt([0, 1, -1, -1], width: 2)
        }
        expectFailure(.badData, naming: ["expert 0", "copy 1", "-2"]) { () throws(FathomError) in
            try attempt([0, -2], width: 2)
        }
        expectFailure(.badData, naming: ["expert 0", "copy 2", "gap"]) { () throws(FathomError) in
            try attempt([0, -1, 3], width: 3)
        }
        expectFailure(.usage, naming: ["3 slots", "2 an expert"]) { () throws(FathomError) in
            try attempt([0, 1, 2], width: 2)
        }
        expectFailure(.usage, naming: ["rank -1"]) { () throws(FathomError) in try attempt([0], width: 1, rank: -1) }
        expectFailure(.usage, naming: ["0 slots"]) { () throws(FathomError) in try attempt([0], width: 1, size: 0) }
    }

    @Test("Routings that do not fit are refused, naming what is legal")
    func badRoutings() throws {
        let gate = try ExactGate([[Float](repeating: 0, count: 12)])
        for (routing, words) in [
            (ExpertRouting(expertsPerToken: 0), ["0 experts a token", "1…12"]),
            (ExpertRouting(expertsPerToken: 13), ["13 experts a token", "1…12"]),
            (
                ExpertRouting(expertsPerToken: 5, groups: .init(count: 6, kept: 2)),
                ["5 experts", "1…4", "2 of 6 groups"]
            ),
            (ExpertRouting(expertsPerToken: 1, groups: .init(count: 5, kept: 2)), ["5 groups of 12"]),
            (ExpertRouting(expertsPerToken: 1, groups: .init(count: 4, kept: 5)), ["5 kept groups of 4"]),
            (ExpertRouting(expertsPerToken: 1, groups: .init(count: 0, kept: 0)), ["0 groups"]),
            (ExpertRouting(expertsPerToken: 1, sharedExperts: -1), ["-1 shared"]),
        ] {
            expectFailure(.usage, naming: words) { () throws(FathomError) in
                _ = try megaGate(
                    gate.x.rows, weight: gate.weight.rows, routing: routing, on: ComputeContext(threadCount: 1))
            }
        }
    }

    @Test("Tokens, biases and maps that do not fit are refused, naming what is legal")
    func badExtents() throws {
        let gate = try ExactGate([[1, 2, 3, 4], [4, 3, 2, 1]])
        let context = try ComputeContext(threadCount: 1)
        let narrow = try GateRows([1, 2, 3, 4, 5, 6], width: 3)
        func attempt(
            x: GateRows? = nil, bias: GateBias? = nil, mask: [Bool]? = nil, choice: GateChoice = .scores,
            replicas: ExpertReplicas? = nil
        ) throws(FathomError) {
            _ = try megaGate(
                (x ?? gate.x).rows, weight: gate.weight.rows, routing: ExpertRouting(expertsPerToken: 2), bias: bias,
                mask: mask, choice: choice, replicas: replicas, on: context)
        }
        expectFailure(.usage, naming: ["3 wide", "2"]) { () throws(FathomError) in try attempt(x: narrow) }
        expectFailure(.usage, naming: ["bias has 3", "4"]) { () throws(FathomError) in
            try attempt(bias: GateBias([0, 0, 0]))
        }
        expectFailure(.usage, naming: ["other bias has 5"]) { () throws(FathomError) in
            try attempt(bias: GateBias([0, 0, 0, 0], other: [0, 0, 0, 0, 0], where: [true, true]))
        }
        expectFailure(.usage, naming: ["other bias tells of 1", "2"]) { () throws(FathomError) in
            try attempt(bias: GateBias([0, 0, 0, 0], other: [0, 0, 0, 0], where: [true]))
        }
        expectFailure(.usage, naming: ["mask tells of 3"]) { () throws(FathomError) in
            try attempt(mask: [true, true, true])
        }
        expectFailure(.usage, naming: ["3 given experts", "4 is legal"]) { () throws(FathomError) in
            try attempt(choice: .given([0, 1, 2]))
        }
        expectFailure(.usage, naming: ["token 1", "choice 1", "4", "0..<4"]) { () throws(FathomError) in
            try attempt(choice: .given([0, 1, -1, 4]))
        }
        try attempt(choice: .given([0, 1, -1, 4], tokens: [true, false]))
        expectFailure(.usage, naming: ["given experts tells of 1"]) { () throws(FathomError) in
            try attempt(choice: .given([0, 1, 2, 3], tokens: [true]))
        }
        expectFailure(.usage, naming: ["3 logical experts", "4"]) { () throws(FathomError) in
            try attempt(replicas: ExpertReplicas(logicalToPhysical: [0, 1, 2], width: 1, rank: 0))
        }
    }

    @Test("No tokens, and no width")
    func empty() throws {
        let context = try ComputeContext(threadCount: 2)
        let none = try GateRows([], width: 4)
        let weight = try GateRows([Float](repeating: 1, count: 12), width: 4)
        let routing = ExpertRouting(expertsPerToken: 2)
        let found = try megaGate(none.rows, weight: weight.rows, routing: routing, on: context)
        #expect(found.tokenCount == 0 && found.experts.isEmpty && found.weights.isEmpty)
        let memory = try FloatRows(none.rows.baseAddress, element: .float32, rowCount: 3, columnCount: 0)
        let flat = try megaGate(memory, weight: memory, routing: routing, on: context)
        #expect(flat.experts == [0, 1, 0, 1, 0, 1] && flat.weights.allSatisfy { $0 == 0.5 })
    }

    @Test("The benchmark measures gate and product", arguments: ExpertRouting.Scoring.allCases)
    func benchmark(scoring: ExpertRouting.Scoring) throws {
        let context = try ComputeContext(threadCount: 2)
        let result = try GateBenchmark.measure(
            tokenCount: 5, expertCount: 16, width: 64, expertsPerToken: 3, scoring: scoring.rawValue,
            groups: ExpertRouting.Groups(count: 4, kept: 2), minimumSeconds: 0, on: context)
        #expect(result.seconds > 0 && result.productSeconds > 0 && result.weightBytes == 2048)
        expectFailure(.usage, naming: ["soft", "sigmoid"]) { () throws(FathomError) in
            _ = try GateBenchmark.measure(tokenCount: 1, scoring: "soft", minimumSeconds: 0, on: context)
        }
        expectFailure(.usage, naming: ["0 tokens"]) { () throws(FathomError) in
            _ = try GateBenchmark.measure(tokenCount: 0, minimumSeconds: 0, on: context)
        }
    }
}
