// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import Platform
import Ranks
import Synchronization
import TestSupport
import Testing

@Suite("Mega MoE over ranks")
struct MegaMoEBufferTests {
    /// The tokens of a group and the whole layer, cut for its ranks.
    private struct Group: Sendable {
        var form: TestMoE.Form
        var rankCount: Int
        var shared = 0
        let experts = 4
        let topK = 3
        let hidden = 70
        let intermediate = 40

        /// Rank r's tokens: none at the last of several ranks.
        func moe(_ rank: Int, round: Int) -> TestMoE {
            TestMoE(
                form, tokens: rankCount > 1 && rank == rankCount - 1 ? 0 : 11 + 7 * rank, experts: experts, topK: topK,
                hidden: hidden, intermediate: intermediate, shared: shared, seed: UInt64(100 + 10 * rank + round))
        }

        var rows: MegaMoEBuffer.Rows {
            form == .bfloat16
                ? .bfloat16
                : form == .blocks
                    ? .float8E4M3(scaleColumns: 128, powersOfTwo: false) : .float8E4M3(scaleColumns: 32)
        }

        func buffer(
            _ group: RankGroup, tokens: Int = 40, timeout: Int? = nil
        ) throws(FathomError) -> MegaMoEBuffer {
            try MegaMoEBuffer(
                group: group, experts: experts, maximumTokensPerRank: tokens, topK: topK, hidden: hidden,
                intermediate: intermediate, sharedExperts: shared, rows: rows, timeoutMilliseconds: timeout)
        }
    }

    /// The matrices of some experts.
    private static func part(_ weights: MegaMoEWeights, _ experts: Range<Int>) -> MegaMoEWeights {
        func part(_ operand: MatrixOperand) -> MatrixOperand {
            var part = operand
            part.baseAddress += experts.lowerBound * operand.groupStride * operand.format.bitCount / 8
            let unit = operand.scales?.encoding == .ue8m0 ? 1 : 4
            let stride = operand.scales?.groupStride ?? 0
            part.scales?.baseAddress += experts.lowerBound * stride * unit
            part.groupCount = experts.count
            return part
        }
        return MegaMoEWeights(gateUp: part(weights.gateUp), down: part(weights.down))
    }

    @discardableResult
    private static func run(
        _ buffer: MegaMoEBuffer, _ moe: TestMoE, _ options: MegaMoEOptions = MegaMoEOptions(),
        on context: ComputeContext
    ) throws(FathomError) -> (y: TestResult, counts: [Int]) {
        let y = TestResult(.bfloat16, rows: moe.choices.tokenCount, columns: moe.layer.hidden)
        let counts = try buffer.megaMoE(
            moe.x.operand, moe.choices, part(moe.layer, buffer.localExperts), shared: moe.shared, into: y.result,
            options: options, on: context)
        return (y, counts)
    }

    @Test(
        "Has the bits of one rank on the same tokens, whatever the number of ranks, again and again",
        arguments: TestMoE.Form.allCases, [(1, 0), (2, 1), (4, 0)])
    func bits(form: TestMoE.Form, shape: (rankCount: Int, shared: Int)) throws {
        let group = Group(form: form, rankCount: shape.rankCount, shared: shape.shared)
        let options = MegaMoEOptions(clamp: 1)
        _ = try RankGroup.threads(Topology(rankCount: shape.rankCount)) { ranks throws(FathomError) in
            let context = try ComputeContext(threadCount: 1 + ranks.rank % 2)
            let buffer = try group.buffer(ranks)
            for round in 0..<4 {
                let moe = group.moe(ranks.rank, round: round)
                let found = try Self.run(buffer, moe, options, on: context)
                let alone = try moe.fused(options, on: context)
                #expect(found.y.bytes == alone.y.bytes, "rank \(ranks.rank), round \(round)")
                // What this rank's experts were given is what all ranks' tokens chose.
                let all = (0..<ranks.rankCount).map { group.moe($0, round: round) }
                let chosen = buffer.localExperts.map { expert in
                    all.reduce(0) { sum, moe in
                        sum + (0..<moe.choices.tokenCount * group.topK).count { moe.experts.start[$0] == expert }
                    }
                }
                #expect(found.counts == chosen)
            }
            return 0
        }
    }

    @Test("More rows than a wave holds: whole experts, one that is longer than a wave, and the rest")
    func waves() throws {
        let context = try ComputeContext(threadCount: 2)
        let tokens = 2600
        let moe = TestMoE(.bfloat16, tokens: tokens, experts: 3, topK: 2, hidden: 9, intermediate: 3)
        let options = MegaMoEOptions()
        let alone = try moe.fused(options, on: context)
        #expect(try moe.unfused(options, form: .bfloat16, on: context) == alone.y.bits)
        #expect(alone.counts.reduce(0, +) > 2048)
        _ = try RankGroup.threads(Topology(rankCount: 1)) { ranks throws(FathomError) in
            let context = try ComputeContext(threadCount: 2)
            let moe = TestMoE(.bfloat16, tokens: tokens, experts: 3, topK: 2, hidden: 9, intermediate: 3)
            let buffer = try MegaMoEBuffer(
                group: ranks, experts: 3, maximumTokensPerRank: tokens, topK: 2, hidden: 9, intermediate: 3,
                rows: .bfloat16)
            let y = try Self.run(buffer, moe, on: context).y
            #expect(y.bytes == (try moe.fused(on: context).y.bytes))
            return 0
        }
    }

    @Test("A rank that fails is named by those who wait for it, and their buffer stays failed")
    func loss() throws {
        let messages = Mutex<[String]>([])
        let group = Group(form: .bfloat16, rankCount: 4)
        let error = #expect(throws: FathomError.self) {
            try RankGroup.threads(Topology(rankCount: 4)) { ranks throws(FathomError) in
                let context = try ComputeContext(threadCount: 1)
                let buffer = try group.buffer(ranks)
                try Self.run(buffer, group.moe(ranks.rank, round: 0), on: context)
                if ranks.rank == 1 { throw FathomError(.badData, "rank 1 has had enough") }
                for _ in 0..<2 {
                    do throws(FathomError) {
                        try Self.run(buffer, group.moe(ranks.rank, round: 1), on: context)
                    } catch {
                        messages.withLock { $0.append(error.message) }
                    }
                }
                throw FathomError(.unavailable, "rank 1 is lost")
            }
        }
        #expect(error?.message == "rank 1 has had enough")
        let heard = messages.withLock { $0 }
        #expect(heard.count == 6 && heard.count { $0.contains("failed before") } == 3)
        #expect(heard.contains { $0.contains("rank 1 has failed") })
    }

    @Test("A rank that does not come is named when the time is over")
    func absence() throws {
        let group = Group(form: .bfloat16, rankCount: 2)
        let done = Atomic<Bool>(false)
        let error = #expect(throws: FathomError.self) {
            try RankGroup.threads(Topology(rankCount: 2)) { ranks throws(FathomError) in
                let buffer = try group.buffer(ranks, timeout: 150)
                if ranks.rank == 1 {
                    while !done.load(ordering: .acquiring) {}
                    return 0
                }
                defer { done.store(true, ordering: .releasing) }
                try Self.run(buffer, group.moe(0, round: 0), on: try ComputeContext(threadCount: 1))
                return 0
            }
        }
        #expect(error?.message.contains("rank 0 waited 150 ms for rank 1 to have their tokens ready") == true)
    }

    @Test("Misuse is named before another rank learns of it, and the call can be made again")
    func misuse() throws {
        let group = Group(form: .float8, rankCount: 2)
        _ = try RankGroup.threads(Topology(rankCount: 2)) { ranks throws(FathomError) in
            let context = try ComputeContext(threadCount: 1)
            let buffer = try group.buffer(ranks, tokens: 11)
            let moe = group.moe(0, round: 0)
            if ranks.rank == 0 {
                let many = TestMoE(.float8, tokens: 12, experts: 4, topK: 3, hidden: 70, intermediate: 40)
                let wrong: [(TestMoE, [String])] = [
                    (many, ["12 tokens", "0…11"]),
                    (
                        TestMoE(.float8, tokens: 2, experts: 4, topK: 2, hidden: 70, intermediate: 40),
                        ["2 choices", "3"]
                    ),
                    (
                        TestMoE(.float8, tokens: 2, experts: 4, topK: 3, hidden: 64, intermediate: 40),
                        ["64 numbers", "70"]
                    ),
                    (
                        TestMoE(.float8, tokens: 2, experts: 4, topK: 3, hidden: 70, intermediate: 44),
                        ["44 columns", "40"]
                    ),
                    (
                        TestMoE(.blocks, tokens: 2, experts: 4, topK: 3, hidden: 70, intermediate: 40),
                        ["1×128", "1×32"]
                    ),
                    (
                        TestMoE(.bfloat16, tokens: 2, experts: 4, topK: 3, hidden: 70, intermediate: 40),
                        ["bf16", "fp8 k-major"]
                    ),
                    (
                        TestMoE(.float8, tokens: 2, experts: 4, topK: 3, hidden: 70, intermediate: 40, shared: 1),
                        ["1 shared", "0"]
                    ),
                ]
                for (moe, words) in wrong {
                    expectFailure(.usage, naming: words) { () throws(FathomError) in
                        try Self.run(buffer, moe, on: context)
                    }
                }
            }
            let y = try Self.run(buffer, moe, on: context).y
            #expect(y.bytes == (try moe.fused(on: context).y.bytes))
            return 0
        }
    }

    @Test("Impossible buffers, ranks that want different ones, and ranks without shared memory are refused")
    func refusals() throws {
        for (experts, tokens, topK, hidden, rows, words) in [
            (3, 1, 1, 8, MegaMoEBuffer.Rows.bfloat16, ["3 experts on 2 ranks", "multiple of 2"]),
            (0, 1, 1, 8, .bfloat16, ["0 experts", "1…"]), (2, 0, 1, 8, .bfloat16, ["0 tokens"]),
            (2, 1, 0, 8, .bfloat16, ["0 choices"]), (2, 1, 1, 0, .bfloat16, ["0 numbers"]),
            (2, 1, 1, 8, .float8E4M3(scaleColumns: 12), ["12 numbers", "multiple of 8"]),
        ] as [(Int, Int, Int, Int, MegaMoEBuffer.Rows, [String])] {
            let error = #expect(throws: FathomError.self) {
                try RankGroup.threads(Topology(rankCount: 2)) { ranks throws(FathomError) in
                    _ = try MegaMoEBuffer(
                        group: ranks, experts: experts, maximumTokensPerRank: tokens, topK: topK, hidden: hidden,
                        intermediate: 8, rows: rows)
                    return 0
                }
            }
            #expect(error?.code == .usage)
            for word in words { #expect(error?.message.contains(word) == true, "\(error?.message ?? "")") }
        }
        let error = #expect(throws: FathomError.self) {
            try RankGroup.threads(Topology(rankCount: 2)) { ranks throws(FathomError) in
                _ = try MegaMoEBuffer(
                    group: ranks, experts: 2, maximumTokensPerRank: 4 + ranks.rank, topK: 1, hidden: 8, intermediate: 8)
                return 0
            }
        }
        #expect(error?.code == .usage && error?.message.contains("the same are legal") == true)
        let linked = #expect(throws: FathomError.self) {
            try RankGroup.linkedThreads(Topology(rankCount: 2)) { ranks throws(FathomError) in
                _ = try MegaMoEBuffer(
                    group: ranks, experts: 2, maximumTokensPerRank: 4, topK: 1, hidden: 8, intermediate: 8)
                return 0
            }
        }
        #expect(linked?.code == .unavailable && linked?.message.contains("network") == true)
    }
}
