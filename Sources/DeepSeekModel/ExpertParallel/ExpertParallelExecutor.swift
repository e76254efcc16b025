// SPDX-License-Identifier: MIT

internal import EPLB
public import Logging
public import Platform
public import Ranks
internal import Synchronization

// SAFETY: In this file addresses lie in this rank's region, at the places of `StepLayout`. A step's message is written
// before its signal and read after it; an answer likewise.

/// A model whose experts are spread over ranks: the first rank's side, which an engine drives like any other model.
///
/// Each step's chunks go to the ranks whole, by work; every rank runs attention for its own and its experts for all.
/// Logits are those of one process, bit for bit. A rank that is lost in a step costs that step's time: the others
/// take its experts and its chunks, and the step is computed again. Where ranks share no memory a sequence stays with
/// the rank that has its cache blocks, as long as that has not far more to do; what a lost rank held is computed again.
public final class ExpertParallelExecutor: ModelExecutor {
    private struct State {
        /// Ranks that take part, ascending; the first is 0.
        var members: [Int32]
        var step: UInt64 = 0
        /// See `StepMessage`.
        var generation = 1
        var balancer: ExpertBalancer
        /// Whether the next step's message carries the balancer's places.
        var isPlacementNew = true
        /// Who holds which cache blocks; nil where all share one cache.
        var directory: CacheDirectory?

        /// Places that the next step's message carries.
        var newSlots: [StepMessage.Slots] {
            guard isPlacementNew else { return [] }
            return balancer.layers.enumerated().map { index, layer in
                StepMessage.Slots(layer: layer, experts: Array(balancer.placement.experts(inLayer: index)))
            }
        }
    }

    /// How the ranks share the work.
    public struct Status: Sendable {
        /// Ranks that take part.
        public var members: [Int]
        /// Mean work of a rank divided by the fullest one's in the last window of steps, 1 where all have the same.
        public var balancedness: Double
        /// Work of each member in the last window, in tokens times experts.
        public var rankLoads: [Double]
        public var rebalanceCount: Int
        /// Bytes of experts' weights that went to other ranks.
        public var movedBytes: Int
    }

    private let member: ExpertParallelMember
    private let state: Mutex<State>
    private let logger: Logger
    /// Called at the end of each window of steps and whenever members or places have changed.
    private let onChange: (@Sendable (Status) -> Void)?

    public var vocabularySize: Int { member.model.vocabularySize }
    public var contextLength: Int { member.model.contextLength }
    public var blockSize: Int { member.model.blockSize }
    public var blockCount: Int { member.model.blockCount }
    public var configuration: DeepSeekConfiguration { member.model.configuration }
    /// Ranks that take part now.
    public var members: [Int] { state.withLock { $0.members.map(Int.init) } }
    /// Ranks that took part at the start.
    public var rankCount: Int { member.group.rankCount }

    /// - Parameters:
    ///   - group: this rank's membership, as rank 0. All other ranks make an `ExpertParallelWorker` at the same time.
    ///   - options: as at every rank.
    ///   - balance: when experts change their places.
    ///   - onChange: told how the ranks share the work, now and then; called between steps.
    /// - Throws: what is wrong with the folder, or a rank that is lost.
    public convenience init(
        group: RankGroup, folder: String, options: DeepSeekExecutor.Options, balance: ExpertBalancer.Terms = .init(),
        logger: Logger, onChange: (@Sendable (Status) -> Void)? = nil,
        progress: (@Sendable (_ done: Int, _ total: Int) -> Void)? = nil
    ) throws(FathomError) {
        try self.init(
            group: group, folder: folder, options: options, balance: balance, ownCaches: false, logger: logger,
            onChange: onChange, progress: progress)
    }

    /// As the public one.
    ///
    /// - Parameter ownCaches: whether each rank has a cache of its own even if ranks share memory; the same at all.
    package init(
        group: RankGroup, folder: String, options: DeepSeekExecutor.Options, balance: ExpertBalancer.Terms = .init(),
        ownCaches: Bool, logger: Logger, onChange: (@Sendable (Status) -> Void)? = nil,
        progress: (@Sendable (_ done: Int, _ total: Int) -> Void)? = nil
    ) throws(FathomError) {
        precondition(group.rank == 0, "only rank 0 drives the others")
        member = try ExpertParallelMember(
            group: group, folder: folder, options: options, ownCaches: ownCaches, logger: logger, progress: progress)
        let configuration = member.model.configuration
        let balancer = try ExpertBalancer(
            layers: member.expertLayers, expertCount: max(configuration.routedExpertCount, 1),
            // Three matrices; a byte for each number, as in the releases.
            bytesPerExpert: 3 * configuration.hiddenSize * configuration.expertIntermediateSize,
            rankCount: group.rankCount, terms: balance)
        let directory =
            member.hasOwnCache
            ? CacheDirectory(blockCount: member.model.blockCount, blockSize: member.model.blockSize) : nil
        state = Mutex(
            State(members: (0..<Int32(group.rankCount)).map(\.self), balancer: balancer, directory: directory))
        self.logger = logger
        self.onChange = onChange
        onChange?(status)
    }

    public func forward(_ chunks: [SequenceChunk]) throws(FathomError) -> LogitsMatrix {
        // What no rank could run is refused before any is asked.
        let batch = try TokenBatch(
            chunks, vocabularySize: vocabularySize, contextLength: contextLength, blockCount: blockCount)
        guard batch.count > 0 else {
            return LogitsMatrix(rowCount: 0, vocabularySize: vocabularySize, values: [])
        }
        return try state.withLock { (state) throws(FathomError) in try run(chunks, &state) }
    }

    /// How the ranks share the work.
    public var status: Status { state.withLock { Self.status($0) } }

    private static func status(_ state: State) -> Status {
        Status(
            members: state.members.map(Int.init), balancedness: state.balancer.balancedness,
            rankLoads: state.balancer.rankLoads, rebalanceCount: state.balancer.rebalanceCount,
            movedBytes: state.balancer.movedBytes)
    }

    /// Ranks that are there, for a readiness check: those lost since the last step are left out.
    public func presentRanks() -> [Int] {
        let lost = Set(member.group.lostRanks().map(\.rank))
        return members.filter { !lost.contains($0) }
    }

    /// Runs a step, again without those ranks that were lost in it, and in halves if it does not fit the messages.
    private func run(_ chunks: [SequenceChunk], _ state: inout State) throws(FathomError) -> LogitsMatrix {
        while true {
            while let lost = state.directory?.recovery(of: chunks), !lost.isEmpty { _ = try run(lost, &state) }
            let parts = StepPartition.assign(chunks, to: state.members.map(Int.init)) { chunk, rank in
                state.directory?.missing(chunk, at: rank).count ?? 0
            }
            guard fits(chunks, parts, state) else {
                guard chunks.count > 1 else {
                    throw FathomError(
                        .usage,
                        "a chunk of \(chunks[0].tokens.count) tokens is too large for one step of \(rankCount) ranks")
                }
                let first = try run(Array(chunks[..<(chunks.count / 2)]), &state)
                let second = try run(Array(chunks[(chunks.count / 2)...]), &state)
                return LogitsMatrix(
                    rowCount: first.rowCount + second.rowCount, vocabularySize: vocabularySize,
                    values: first.values + second.values)
            }
            let outcome = try step(chunks, parts, &state)
            if let outcome { return outcome }
        }
    }

    private func fits(_ chunks: [SequenceChunk], _ parts: [[Int]], _ state: State) -> Bool {
        let transfers = CacheTransfers(chunks, parts, members: state.members, directory: state.directory)
        return parts.indices.allSatisfy { index in
            let part = parts[index]
            let words = message(part.map { chunks[$0] }, at: index, transfers, 0, state).words.count
            return words <= member.layout.stepWords && rows(chunks, part) <= member.layout.logitsRows
        }
    }

    /// Rows of logits of some chunks.
    private func rows(_ chunks: [SequenceChunk], _ part: [Int]) -> Int {
        part.reduce(0) { $0 + chunks[$1].logitsCount }
    }

    private func message(
        _ chunks: [SequenceChunk], at index: Int, _ transfers: CacheTransfers, _ slabCount: Int, _ state: State
    ) -> StepMessage {
        let places = state.balancer.placement.shape.replicaCount
        return StepMessage(
            slabCount: slabCount, generation: state.generation,
            slotsPerMember: (places + state.members.count - 1) / state.members.count,
            wantsCounts: state.balancer.endsWindow, members: state.members, slots: state.newSlots,
            copies: transfers.copies[index], sources: transfers.sources[index].sorted(), chunks: chunks)
    }

    /// Runs a step once.
    ///
    /// - Returns: nil if ranks were lost; then they are not members any more.
    /// - Throws: what was wrong with the step at whichever rank.
    private func step(
        _ chunks: [SequenceChunk], _ parts: [[Int]], _ state: inout State
    ) throws(FathomError) -> LogitsMatrix? {
        state.step += 1
        let tokens = parts.map { $0.reduce(0) { $0 + chunks[$1].tokens.count } }.max() ?? 0
        let slabTokens = member.exchange.slabTokens
        let slabCount = (tokens + slabTokens - 1) / slabTokens
        let transfers = CacheTransfers(chunks, parts, members: state.members, directory: state.directory)
        for (index, rank) in state.members.enumerated().dropFirst() {
            let words = message(parts[index].map { chunks[$0] }, at: index, transfers, slabCount, state).words
            ([Int32(words.count)] + words).withUnsafeBytes {
                member.region.put($0, to: Int(rank), at: member.layout.step)
            }
            member.region.signal(Int(rank), member.layout.stepped, state.step)
        }
        let own = message(parts[0].map { chunks[$0] }, at: 0, transfers, slabCount, state)
        state.isPlacementNew = false
        var matrices = [LogitsMatrix?](repeating: nil, count: state.members.count)
        var failure: FathomError?
        do throws(FathomError) {
            matrices[0] = try member.run(own, step: state.step)
        } catch {
            failure = error
            member.exchange.abandon()
        }
        let lost = collect(&matrices, &failure, state)
        if failure != nil || !lost.isEmpty { state.generation += 1 }
        if !lost.isEmpty {
            try drop(lost, &state)
            return nil
        }
        if let failure { throw failure }
        note(chunks, parts, transfers, &state)
        try balance(&state)
        return assemble(chunks, parts, matrices)
    }

    /// Notes who holds what after a step.
    private func note(
        _ chunks: [SequenceChunk], _ parts: [[Int]], _ transfers: CacheTransfers, _ state: inout State
    ) {
        for copy in transfers.copies.joined() { state.directory?.noteCopy(of: copy.block, at: Int(copy.target)) }
        for (rank, part) in zip(state.members, parts) {
            for index in part { state.directory?.noteRun(chunks[index], at: Int(rank)) }
        }
    }

    /// How long to wait for an answer before looking whether the rank is there.
    private static let sliceMilliseconds = 1_000
    /// How often: a step of a large prompt on a slow machine is finished by then.
    private static let maximumSlices = 3_600

    /// Waits for the answers of all other members.
    ///
    /// - Returns: the ranks that were lost, and why.
    private func collect(
        _ matrices: inout [LogitsMatrix?], _ failure: inout FathomError?, _ state: State
    ) -> [RankGroup.LostRank] {
        var lost: [RankGroup.LostRank] = []
        for (index, rank) in state.members.enumerated().dropFirst() {
            var came = false
            var slices = 0
            do throws(FathomError) {
                while !came, slices < Self.maximumSlices {
                    came = try member.region.wait(
                        member.layout.answered(by: Int(rank)), atLeast: state.step,
                        timeoutMilliseconds: Self.sliceMilliseconds, watching: [Int(rank)])
                    slices += 1
                }
            } catch {
                lost.append(RankGroup.LostRank(rank: Int(rank), reason: error.message))
                // Others may wait for somebody who waits for it.
                member.exchange.abandon()
                continue
            }
            guard came else {
                lost.append(RankGroup.LostRank(rank: Int(rank), reason: "does not answer"))
                continue
            }
            read(Int(rank), into: &matrices[index], &failure)
        }
        return lost
    }

    /// Reads a rank's answer.
    private func read(_ rank: Int, into matrix: inout LogitsMatrix?, _ failure: inout FathomError?) {
        let answer = member.region.local + member.layout.answer(of: rank)
        let status = answer.load(as: Int32.self)
        let count = Int(answer.load(fromByteOffset: 4, as: Int32.self))
        let payload = member.region.local + member.layout.logits(of: rank)
        if status == StepLayout.Status.logits.rawValue {
            let values = UnsafeBufferPointer(
                start: payload.assumingMemoryBound(to: Float.self), count: count * vocabularySize)
            matrix = LogitsMatrix(rowCount: count, vocabularySize: vocabularySize, values: Array(values))
            return
        }
        let text = String(decoding: UnsafeRawBufferPointer(start: payload, count: count), as: UTF8.self)
        // What a rank found wrong says more than that others gave up because of it.
        if status == StepLayout.Status.failed.rawValue {
            failure = FathomError(.internal, "rank \(rank): \(text)")
        } else {
            failure = failure ?? FathomError(.unavailable, "rank \(rank): \(text)")
        }
    }

    /// Goes on without some ranks: their experts go to the others.
    private func drop(_ lost: [RankGroup.LostRank], _ state: inout State) throws(FathomError) {
        for loss in lost {
            member.group.expel(loss.rank)
            logger.error(
                "rank lost; its experts and its part of the step go to the others",
                metadata: ["rank": "\(loss.rank)", "reason": "\(loss.reason)"])
        }
        state.members.removeAll { rank in lost.contains { $0.rank == Int(rank) } }
        for loss in lost { state.directory?.remove(loss.rank) }
        try state.balancer.change(rankCount: state.members.count)
        state.isPlacementNew = true
        onChange?(Self.status(state))
    }

    /// Moves experts if the ranks' work has become too uneven.
    private func balance(_ state: inout State) throws(FathomError) {
        let windowBefore = state.balancer.rankLoads
        let before = state.balancer.balancedness
        let hasMoved = try state.balancer.finishStep { counts(of: state.members) }
        if hasMoved {
            state.isPlacementNew = true
            logger.info(
                "experts change places",
                metadata: ["balance": "\(before)", "expected": "\(state.balancer.balancedness)"])
        }
        if hasMoved || state.balancer.rankLoads != windowBefore { onChange?(Self.status(state)) }
    }

    /// Tokens of the members that chose each expert since the start [layers with experts, experts]; after a step whose
    /// message has asked for them.
    private func counts(of ranks: [Int32]) -> [UInt64] {
        var counts = member.exchange.counts
        for rank in ranks.dropFirst() {
            let theirs = (member.region.local + member.layout.counts(of: Int(rank)))
                .assumingMemoryBound(to: UInt64.self)
            for index in counts.indices { counts[index] += theirs[index] }
        }
        let expertCount = counts.count / member.model.configuration.layerCount
        return member.expertLayers.flatMap { counts[$0 * expertCount..<($0 + 1) * expertCount] }
    }

    /// The rows of all ranks in the order of the chunks.
    private func assemble(_ chunks: [SequenceChunk], _ parts: [[Int]], _ matrices: [LogitsMatrix?]) -> LogitsMatrix {
        var rows = [ArraySlice<Float>](repeating: [], count: chunks.count)
        var total = 0
        for (part, matrix) in zip(parts, matrices) {
            guard let matrix else { continue }
            var row = 0
            for index in part {
                let count = chunks[index].logitsCount
                rows[index] = matrix.values[row * vocabularySize..<(row + count) * vocabularySize]
                row += count
                total += count
            }
        }
        var values: [Float] = []
        values.reserveCapacity(total * vocabularySize)
        for part in rows { values += part }
        return LogitsMatrix(rowCount: total, vocabularySize: vocabularySize, values: values)
    }
}

extension SequenceChunk {
    /// Rows of logits that the chunk asks for.
    var logitsCount: Int {
        switch logits {
        case .none: 0
        case .last: 1
        case .all: tokens.count
        }
    }
}
