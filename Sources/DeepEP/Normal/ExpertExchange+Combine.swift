// SPDX-License-Identifier: MIT

// SAFETY: In this file addresses are of whole records: rows that a caller keeps, slots that `ExchangeMemory` places in
// the shared region, and rows of buffers made for them. The protocol says when a slot may be read or written.

internal import CFathom
public import Platform
internal import Ranks
public import Tensors

/// What comes back to a rank's tokens.
public struct CombinedTokens: Sendable {
    /// [tokens, hidden] sums: BF16, or floats where the exchange's rows are floats.
    public let rows: AlignedBuffer<UInt8>
    /// [tokens, topK] the weights that came back, if any were returned.
    public let weights: [Float]?
}

extension ExpertExchange {
    /// What ranks return beside rows, and what is added to the sums.
    public struct CombineOptions: Sendable {
        /// [received tokens, topK] weights that go back to the tokens' sources: each choice's from its expert's rank.
        public var weights: [Float]?
        /// Up to two blocks of [tokens] rows, in the format of the result, that are added to the sums first.
        public var biases: [TokenRows] = []
        /// Memory for the result, [tokens, hidden]; new memory where left out.
        public var output: AlignedBuffer<UInt8>?

        public init() {}
    }

    /// Returns one row for each received token, and sums what the ranks return for each token of this rank: biases,
    /// then ranks ascending, in floats, rounded once to BF16; with two hops each node's ranks first, rounded likewise.
    ///
    /// - Parameters:
    ///   - returned: [received tokens] rows in the format of the result: BF16, or floats where the exchange's rows are.
    ///   - handle: of the dispatch that brought the tokens, or of one that it reused.
    /// - Throws: `usage` for arguments that do not fit, `unavailable` naming a rank that is lost or does not come.
    public func combine(
        _ returned: TokenRows, handle: DispatchHandle, options: CombineOptions = CombineOptions()
    ) throws(FathomError) -> CombinedTokens {
        try awaitBegun()
        return try performCombine(returned, handle, options, inPlace: false)
    }

    /// Where the rows to return can be made, so that they need not be copied: a row for each received token of the
    /// dispatch that came last, `returnStride` bytes apart, free until the combine that returns them.
    ///
    /// - Returns: nil where the landing area is too small for what some rank received, or the ranks of this node (with
    ///   one hop: all ranks) do not share memory.
    public func returnArea(for handle: DispatchHandle) -> UnsafeMutableRawPointer? {
        handle.staysInPlace && seesNode ? region.local + memory.returnArea(0) : nil
    }

    /// Bytes from one row of `returnArea` to the next.
    public var returnStride: Int { memory.returnStride }

    /// As `combine(_:handle:options:)` with the rows of `returnArea`, which the ranks read where they are. All ranks
    /// return their rows so, or none does.
    public func combineReturnArea(
        handle: DispatchHandle, options: CombineOptions = CombineOptions()
    ) throws(FathomError) -> CombinedTokens {
        try awaitBegun()
        return try performCombineReturnArea(handle, options)
    }

    func performCombineReturnArea(
        _ handle: DispatchHandle, _ options: CombineOptions
    ) throws(FathomError) -> CombinedTokens {
        let count = handle.plan.rowsOfSource.reduce(0, +)
        guard let area = returnArea(for: handle) else {
            let error = FathomError(
                .usage,
                seesNode
                    ? "rank \(rank): the landing area is too small for rows to stay in place"
                    : "rank \(rank): rows cannot be read in place on ranks that share no memory; combine copies them")
            fail(error)
            throw error
        }
        let rows = TokenRows(base: area, count: count, stride: memory.returnStride)
        return try performCombine(rows, handle, options, inPlace: true)
    }

    func performCombine(
        _ returned: TokenRows, _ handle: DispatchHandle, _ options: CombineOptions, inPlace: Bool
    ) throws(FathomError) -> CombinedTokens {
        var run: CombineRun
        do throws(FathomError) {
            run = try prepare(returned, handle, options)
        } catch {
            fail(error)
            throw error
        }
        var plan = handle.plan
        plan.readsInPlace = inPlace
        plan.startsAtOnce = mayStartAtOnce(plan, handle)
        epoch += 1
        if inPlace {
            run.partStarts = (0..<placement.rankCount).compactMap { partStart(ofKey: $0, handle) }
            writeWeights(run)
        }
        run.streams = streams(plan)
        var machine = CombineProtocol(plan: plan, epoch: epoch)
        var weights: [Float]? = options.weights == nil ? nil : Array(repeating: 0, count: handle.tokenCount * topK)
        try self.run(&machine, named: "combine") { (action, machine) throws(FathomError) in
            if let other = machine.disagreeing {
                throw FathomError(
                    .usage, "ranks \(rank) and \(other) do not both return rows in place; all ranks do, or none does")
            }
            perform(action, run, &weights)
            return nil
        }
        if run.streams { fathom_store_fence() }
        return CombinedTokens(rows: run.sums, weights: weights)
    }

    /// Whether a combine follows its dispatch directly and has room for everything.
    func mayStartAtOnce(_ plan: CombineProtocol.Plan, _ handle: DispatchHandle) -> Bool {
        handle.epoch == epoch && handle.staysInPlace && plan.hasRoomForAll
    }

    /// Whether the rows that this rank sums, and the sums, exceed its part of the cache.
    func streams(_ plan: CombineProtocol.Plan) -> Bool {
        exceedsCache((plan.rowsOfKey.reduce(0, +) + plan.ownKeys.count) * memory.returnStride)
    }

    /// What a combine works on.
    struct CombineRun {
        var returned: TokenRows
        var options: CombineOptions
        /// The first received token of each source.
        var firstRow: [Int]
        var sums: AlignedBuffer<UInt8>
        /// A row for a sum on the way.
        var partial: AlignedBuffer<UInt8>
        /// By key, where the ranks of this node keep what they return; empty where it is put into rings.
        var partStarts: [UnsafeRawPointer] = []
        /// The returned rows in the order of streams, where that is not their own order.
        var order: [Int32]?
        /// [tokens, topK] what choices are multiplied by, where each comes by itself.
        var choiceWeights: (selection: TopKSelection, weighted: Bool)?
        /// Who sums them, if not this exchange.
        var take: ((Int, [UnsafeRawPointer]) -> Void)?
        /// Whether sums go past the cache.
        var streams = false
    }

    /// Where the stream of a key lies in the return area of its rank, which is on this node.
    private func partStart(ofKey key: Int, _ handle: DispatchHandle) -> UnsafeRawPointer? {
        let source = wiring.source(ofKey: key)
        let target = wiring.target(ofKey: key)
        let first = handle.counts[..<source].reduce(0) { $0 + Int($1.toRank[target]) }
        return region.peer(target).map { UnsafeRawPointer($0 + memory.returnArea(first)) }
    }

    /// Puts weights beside the rows of the return area.
    private func writeWeights(_ run: CombineRun) {
        guard let weights = run.options.weights else { return }
        weights.withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress else { return }
            for row in 0..<run.returned.count {
                (region.local + memory.returnArea(row) + memory.returnWeightsOffset)
                    .copyMemory(from: start + 4 * topK * row, byteCount: 4 * topK)
            }
        }
    }

    private func prepare(
        _ returned: TokenRows, _ handle: DispatchHandle, _ options: CombineOptions
    ) throws(FathomError) -> CombineRun {
        var firstRow = [0]
        for count in handle.plan.rowsOfSource { firstRow.append(firstRow[firstRow.count - 1] + count) }
        let total = firstRow[firstRow.count - 1]
        guard returned.count == total else {
            throw FathomError(.usage, "rank \(rank): \(returned.count) rows returned for \(total) received tokens")
        }
        if let weights = options.weights, weights.count != total * topK {
            throw FathomError(.usage, "rank \(rank): \(weights.count) weights returned; \(total * topK) are legal")
        }
        guard options.biases.count <= 2, options.biases.allSatisfy({ $0.count == handle.tokenCount }) else {
            throw FathomError(
                .usage, "rank \(rank): at most two biases, each a row for each of \(handle.tokenCount) tokens")
        }
        if let output = options.output, output.count < handle.tokenCount * memory.returnDataBytes {
            throw FathomError(
                .usage,
                """
                rank \(rank): \(output.count) bytes for the result; \(handle.tokenCount * memory.returnDataBytes) or \
                more are legal
                """)
        }
        let sums =
            if let output = options.output { output } else {
                try AlignedBuffer<UInt8>(
                    count: handle.tokenCount * memory.returnDataBytes, purpose: "combined tokens")
            }
        return CombineRun(
            returned: returned, options: options, firstRow: firstRow,
            sums: sums,
            partial: try AlignedBuffer(count: memory.returnStride, purpose: "a sum on the way"))
    }

    func perform(_ action: ExchangeAction, _ run: CombineRun, _ weights: inout [Float]?) {
        switch action {
        case .returnRows(let source, let peer, let rows, let slot):
            for row in rows {
                let place = run.firstRow[source] + row
                put(
                    run, row: run.order.map { Int($0[place]) } ?? place, to: peer,
                    at: memory.returned(slot + row - rows.lowerBound))
            }
        case .relaySum(let node, _, let parts, let slot):
            let peer = wiring.counterpart(onNode: node)
            let partial = UnsafeMutableRawPointer(run.partial.baseAddress)
            let addresses = parts.map { address($0, run) }
            sum(addresses, to: partial)
            if run.options.weights != nil { sumWeights(addresses, to: partial + memory.returnWeightsOffset) }
            // SAFETY: a row of the buffer, which has room for one.
            region.put(
                UnsafeRawBufferPointer(start: partial, count: memory.returnStride), to: peer,
                at: memory.returned(slot))
        case .sum(let token, let parts): sum(token, parts, run, &weights)
        default: break
        }
    }

    /// Adds up what came back for a token.
    private func sum(_ token: Int, _ parts: [SumPart], _ run: CombineRun, _ weights: inout [Float]?) {
        let sums = UnsafeMutableRawPointer(run.sums.baseAddress + token * memory.returnDataBytes)
        if let take = run.take {
            take(token, parts.map { address($0, run) })
            return
        }
        if let choices = run.choiceWeights {
            sumChoices(token, parts.map { address($0, run) }, choices, to: sums, streams: run.streams)
            return
        }
        addends.removeAll(keepingCapacity: true)
        for bias in run.options.biases { addends.append(bias.row(token)) }
        if wiring.nodeCount == 1 {
            for part in parts { addends.append(address(part, run)) }
        } else {
            addNodes(parts, run)
        }
        sum(addends, to: sums, streams: run.streams)
        guard weights != nil else { return }
        for choice in 0..<topK {
            // A choice's weight comes from one rank; the others return zero.
            var total: Float = 0
            for part in parts {
                total += address(part, run).load(
                    fromByteOffset: memory.returnWeightsOffset + 4 * choice, as: Float.self)
            }
            weights?[token * topK + choice] = total
        }
    }

    /// Adds what nodes return for a token to what is summed: nodes ascending, this one's ranks as a sum of theirs.
    private func addNodes(_ parts: [SumPart], _ run: CombineRun) {
        var own: [UnsafeRawPointer] = []
        var others: [(node: Int, row: UnsafeRawPointer)] = []
        for part in parts {
            if case .fromNode(let node, _, _) = part {
                others.append((node, address(part, run)))
            } else {
                own.append(address(part, run))
            }
        }
        addends += others.lazy.filter { $0.node < self.wiring.node }.map(\.row)
        if !own.isEmpty {
            let partial = UnsafeMutableRawPointer(run.partial.baseAddress)
            sum(own, to: partial)
            addends.append(UnsafeRawPointer(partial))
        }
        addends += others.lazy.filter { $0.node > self.wiring.node }.map(\.row)
    }

    /// Sums rows in the format of the result.
    func sum(_ parts: [UnsafeRawPointer], to out: UnsafeMutableRawPointer, streams: Bool = false) {
        if memory.returnElementBytes == 4 {
            RowSum.float32(parts, to: out, count: returnFormat.hidden, streams: streams)
        } else {
            RowSum.bfloat16(parts, to: out, count: returnFormat.hidden, streams: streams)
        }
    }

    private func sumWeights(_ parts: [UnsafeRawPointer], to out: UnsafeMutableRawPointer) {
        RowSum.float32(parts.map { $0 + memory.returnWeightsOffset }, to: out, count: topK)
    }

    /// Where a part lies: in a slot here, or in the return area of its rank.
    private func address(_ part: SumPart, _ run: CombineRun) -> UnsafeRawPointer {
        switch part {
        case .fromRank(let key, let row, _) where !run.partStarts.isEmpty:
            run.partStarts[key] + row * memory.returnStride
        case .fromRank(_, _, let slot), .fromNode(_, _, let slot):
            UnsafeRawPointer(region.local + memory.returned(slot))
        }
    }

    /// Writes a returned row to a rank's memory.
    private func put(_ run: CombineRun, row: Int, to peer: Int, at offset: Int) {
        // SAFETY: the caller's row has the bytes of the result's format, and a slot has room for them.
        region.put(
            UnsafeRawBufferPointer(start: run.returned.row(row), count: memory.returnDataBytes), to: peer, at: offset)
        guard let weights = run.options.weights else { return }
        weights.withUnsafeBytes { bytes in
            region.put(
                UnsafeRawBufferPointer(rebasing: bytes[4 * topK * row..<4 * topK * (row + 1)]), to: peer,
                at: offset + memory.returnWeightsOffset)
        }
    }
}
