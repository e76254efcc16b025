// SPDX-License-Identifier: MIT

import DeepSeekModel
import EPLB
import Logging
import Platform
import Ranks
import Synchronization
import TestSupport
import Testing

@Suite("A model with its experts spread over ranks", .serialized)
struct ExpertParallelTests {
    private static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private static func options(threads: Int = 1) -> DeepSeekExecutor.Options {
        var options = DeepSeekExecutor.Options()
        options.cacheTokens = 1024
        options.threadCount = threads
        return options
    }

    /// Runs `body` on rank 0 of a group of threads whose other ranks work for it.
    private static func withRanks<Result: Sendable>(
        _ count: Int, folder: String, leaving: [Int: UInt64] = [:], balance: ExpertBalancer.Terms = .init(),
        ownCaches: Bool = false,
        _ body: @escaping @Sendable (ExpertParallelExecutor) throws(FathomError) -> Result
    ) throws -> Result {
        let results = try RankGroup.threads(Topology(rankCount: count)) { (group) throws(FathomError) -> Result? in
            if group.rank == 0 {
                return try body(
                    ExpertParallelExecutor(
                        group: group, folder: folder, options: options(), balance: balance, ownCaches: ownCaches,
                        logger: logger))
            }
            let worker = try ExpertParallelWorker(
                group: group, folder: folder, options: options(), ownCaches: ownCaches, logger: logger)
            try worker.run(leavingInStep: leaving[group.rank])
            return nil
        }
        return try #require(results[0])
    }

    /// Steps of several sequences, cut at different places, as an engine would run them.
    private static func steps() -> [[SequenceChunk]] {
        let sequences = [40, 9, 1, 70, 23].enumerated().map { SmallModel.tokens($1, seed: UInt64($0)) }
        func chunk(_ index: Int, _ range: Range<Int>, _ logits: SequenceChunk.LogitsSelection) -> SequenceChunk {
            SequenceChunk(
                tokens: Array(sequences[index][range]), firstPosition: range.lowerBound,
                blockTable: [Int32(2 * index + 1), Int32(2 * index)], logits: logits)
        }
        return [
            [chunk(0, 0..<30, .none), chunk(1, 0..<8, .last), chunk(2, 0..<1, .all)],
            [chunk(0, 30..<40, .all), chunk(3, 0..<64, .last)],
            [chunk(1, 8..<9, .last)],
            [chunk(3, 64..<70, .all), chunk(4, 0..<23, .last), chunk(0, 39..<40, .last)],
        ]
    }

    private static func bits(_ executor: some ModelExecutor) throws(FathomError) -> [[UInt32]] {
        var found: [[UInt32]] = []
        for step in steps() { found.append(try executor.forward(step).values.map(\.bitPattern)) }
        return found
    }

    @Test(
        "Gives the bits of one process on any number of ranks",
        arguments: [SmallModel.families[0], SmallModel.families[2], SmallModel.families[4], .fp8], [1, 2, 3, 5, 8])
    func sameBits(model: SmallModel, ranks: Int) throws {
        try model.withFolder { folder in
            let expected = try Self.bits(
                DeepSeekExecutor(folder: folder, options: Self.options(threads: 2), logger: Self.logger))
            let found = try Self.withRanks(ranks, folder: folder) { (executor) throws(FathomError) in
                try Self.bits(executor)
            }
            for (step, pair) in zip(expected, found).enumerated() { #expect(pair.0 == pair.1, "step \(step)") }
            #expect(found.count == expected.count)
        }
    }

    @Test("Gives them where each rank has a cache of its own", arguments: [2, 3, 5, 8])
    func ownCaches(ranks: Int) throws {
        for model in [SmallModel.families[0], .fp8] {
            try model.withFolder { folder in
                let expected = try Self.bits(
                    DeepSeekExecutor(folder: folder, options: Self.options(), logger: Self.logger))
                let found = try Self.withRanks(ranks, folder: folder, ownCaches: true) {
                    (executor) throws(FathomError) in
                    try Self.bits(executor)
                }
                #expect(found == expected)
            }
        }
    }

    @Test("What a lost rank held is computed again", arguments: [1, 2, 3], [2, 3, 4] as [UInt64])
    func lostCache(rank: Int, step: UInt64) throws {
        try SmallModel.families[0].withFolder { folder in
            let expected = try Self.bits(
                DeepSeekExecutor(folder: folder, options: Self.options(), logger: Self.logger))
            let (found, members) = try Self.withRanks(4, folder: folder, leaving: [rank: step], ownCaches: true) {
                (executor) throws(FathomError) in
                let found = try Self.bits(executor)
                return (found, executor.members)
            }
            #expect(found == expected)
            #expect(members == [0, 1, 2, 3].filter { $0 != rank })
        }
    }

    @Test("All ranks but the first may go with all that they held")
    func aloneWithOwnCache() throws {
        try SmallModel.families[0].withFolder { folder in
            let expected = try Self.bits(
                DeepSeekExecutor(folder: folder, options: Self.options(), logger: Self.logger))
            let (found, members) = try Self.withRanks(
                4, folder: folder, leaving: [1: 2, 2: 4, 3: 4], ownCaches: true
            ) { (executor) throws(FathomError) in
                let found = try Self.bits(executor)
                return (found, executor.members)
            }
            #expect(found == expected && members == [0])
        }
    }

    @Test("A rank with another checkpoint is refused by all, before any step")
    func otherCheckpoint() throws {
        try SmallModel.families[0].withFolder { folder in
            try SmallModel.families[0].withFolder { other in
                // A model of the same shape with other numbers.
                try CheckpointEditor.edit(other) { tensors in
                    for index in tensors.indices {
                        tensors[index].bytes = tensors[index].bytes.map { $0 & 0x3F }
                    }
                }
                #expect(try CheckpointFingerprint.of(folder: folder) == CheckpointFingerprint.of(folder: folder))
                let messages = try RankGroup.threads(Topology(rankCount: 3)) { (group) throws(FathomError) -> String in
                    do throws(FathomError) {
                        let own = group.rank == 1 ? other : folder
                        if group.rank == 0 {
                            _ = try ExpertParallelExecutor(
                                group: group, folder: own, options: Self.options(), logger: Self.logger)
                        } else {
                            _ = try ExpertParallelWorker(
                                group: group, folder: own, options: Self.options(), logger: Self.logger)
                        }
                        return "none"
                    } catch { return error.message }
                }
                #expect(messages.allSatisfy { $0.contains("same checkpoint") && $0.contains("rank 1") }, "\(messages)")
            }
        }
    }

    @Test("A rank that is lost in a step costs no sequence and no bit", arguments: [1, 2, 3], [1, 2, 4] as [UInt64])
    func lostRank(rank: Int, step: UInt64) throws {
        try SmallModel.families[0].withFolder { folder in
            let expected = try Self.bits(
                DeepSeekExecutor(folder: folder, options: Self.options(), logger: Self.logger))
            let (found, members) = try Self.withRanks(4, folder: folder, leaving: [rank: step]) {
                (executor) throws(FathomError) in
                let found = try Self.bits(executor)
                return (found, executor.members)
            }
            #expect(found == expected)
            #expect(members == [0, 1, 2, 3].filter { $0 != rank })
        }
    }

    @Test("All ranks but the first may go, one after the other")
    func alone() throws {
        try SmallModel.families[0].withFolder { folder in
            let expected = try Self.bits(
                DeepSeekExecutor(folder: folder, options: Self.options(), logger: Self.logger))
            let (found, members) = try Self.withRanks(4, folder: folder, leaving: [1: 1, 2: 3, 3: 3]) {
                (executor) throws(FathomError) in
                let found = try Self.bits(executor)
                return (found, executor.members)
            }
            #expect(found == expected && members == [0])
        }
    }

    @Test("What no rank can run is refused as one process refuses it, and the next step runs")
    func refusal() throws {
        try SmallModel.families[0].withFolder { folder in
            let message = try Self.withRanks(3, folder: folder) { (executor) throws(FathomError) in
                var message = ""
                do throws(FathomError) {
                    _ = try executor.forward([SequenceChunk(tokens: [1, 99_999], firstPosition: 0, blockTable: [0])])
                } catch { message = error.message }
                _ = try executor.forward(Self.steps()[0])
                return message
            }
            #expect(message.contains("99999"))
        }
    }

    @Test("Numbers that are not finite in one rank's experts fail the step by name, and no rank hangs")
    func notFinite() throws {
        try SmallModel.families[0].withFolder { folder in
            // The last expert of the last layer, which the last rank has.
            try CheckpointEditor.patch(
                folder, "model.layers.2.mlp.experts.7.up_proj.weight", element: 5, bits: 0x7FC0_0000)
            let messages = try Self.withRanks(4, folder: folder) { (executor) throws(FathomError) in
                var messages: [String] = []
                for _ in 0..<2 {
                    for step in Self.steps() {
                        do throws(FathomError) { _ = try executor.forward(step) } catch {
                            messages.append(error.message)
                        }
                    }
                }
                return messages
            }
            #expect(!messages.isEmpty && messages.allSatisfy { $0.contains("experts.7.up_proj") })
        }
    }

    @Test("Experts that move while steps go on change no bit", arguments: [2, 3, 5])
    func rebalancing(ranks: Int) throws {
        try SmallModel.families[0].withFolder { folder in
            let model = try DeepSeekExecutor(folder: folder, options: Self.options(), logger: Self.logger)
            let expected = try (0..<6).flatMap { _ in try Self.bits(model) }
            var terms = ExpertBalancer.Terms()
            terms.windowSteps = 3
            terms.windowCount = 1
            terms.bound = 1.1
            terms.gain = -1
            let (found, status) = try Self.withRanks(ranks, folder: folder, balance: terms) {
                (executor) throws(FathomError) in
                var found: [[UInt32]] = []
                for _ in 0..<6 { found += try Self.bits(executor) }
                return (found, executor.status)
            }
            #expect(found == expected)
            #expect(status.rebalanceCount > 1 && status.rankLoads.count == ranks)
        }
    }
}

@Suite("When experts move")
struct ExpertBalancerTests {
    /// Counts in which expert 0 of every layer has most of the work.
    private func counts(_ step: Int) -> [UInt64] {
        (0..<2).flatMap { _ in (0..<8).map { expert in UInt64(step * (expert == 0 ? 700 : expert == 1 ? 100 : 20)) } }
    }

    private func balancer(_ change: (inout ExpertBalancer.Terms) -> Void = { _ in }) throws -> ExpertBalancer {
        var terms = ExpertBalancer.Terms()
        terms.windowSteps = 10
        change(&terms)
        return try ExpertBalancer(layers: [1, 2], expertCount: 8, bytesPerExpert: 100, rankCount: 4, terms: terms)
    }

    @Test("Uneven loads move experts at the end of a window, once, to a better place")
    func moves() throws {
        var balancer = try balancer()
        let start = balancer.placement
        var changes: [Int] = []
        for step in 1...50 where try balancer.finishStep({ counts(step) }) { changes.append(step) }
        #expect(changes == [10])
        #expect(balancer.placement != start && balancer.rebalanceCount == 1 && balancer.movedBytes > 0)
        #expect(balancer.movedBytes % 100 == 0 && balancer.balancedness > 0.6)
        // The busy expert has a replica on every rank that has a slot to spare.
        let busy = balancer.placement.experts(inLayer: 0).count { $0 == 0 }
        #expect(busy > 1)
    }

    @Test("Even loads move nothing, and counts are asked for at the end of windows only")
    func even() throws {
        var balancer = try balancer { $0.redundantExperts = 0 }
        var asked = 0
        for step in 1...35 {
            let hasMoved = try balancer.finishStep {
                asked += 1
                return (0..<16).map { _ in UInt64(step * 5) }
            }
            #expect(!hasMoved)
        }
        #expect(asked == 3 && balancer.balancedness == 1 && balancer.rankLoads == [200, 200, 200, 200])
    }

    @Test("After a rank is lost the counts begin anew")
    func lost() throws {
        var balancer = try balancer()
        for step in 1...15 { _ = try balancer.finishStep { counts(step) } }
        try balancer.change(rankCount: 3)
        #expect(balancer.placement.shape.rankCount == 3 && balancer.balancedness == 1)
        // Less than before: what the lost rank had counted is missing.
        for step in 1...10 { #expect(try !balancer.finishStep { counts(step) }) }
        var changes = 0
        for step in 11...20 where try balancer.finishStep({ counts(step) }) { changes += 1 }
        #expect(changes == 1)
    }
}
