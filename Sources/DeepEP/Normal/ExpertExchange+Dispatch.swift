// SPDX-License-Identifier: MIT

// SAFETY: In this file addresses are of whole records: rows that a caller keeps, slots that `ExchangeMemory` places in
// the shared region, and rows of buffers made for them. The protocol says when a slot may be read or written.

internal import CFathom
public import Platform
internal import Ranks
internal import Tensors

extension ExpertExchange {
    /// Sends each token to the ranks of its experts, and receives those for this rank's experts.
    ///
    /// - Parameters:
    ///   - rows: one for each token of `selection`; free to be changed when the call returns.
    ///   - selection: the chosen experts of each token, and their weights.
    ///   - handle: of an earlier dispatch of as many tokens whose choices are used again, without counting; all ranks
    ///     pass one of the same dispatch, or none does.
    /// - Throws: `badData` or `usage` for tokens that do not fit, before anything was sent, which the other ranks learn
    ///   of; `unavailable` naming a rank that is lost or does not come.
    public func dispatch(
        _ rows: TokenRows, _ selection: TopKSelection, reusing handle: DispatchHandle? = nil
    ) throws(FathomError) -> (tokens: ReceivedTokens, handle: DispatchHandle) {
        try awaitBegun()
        return try performDispatch(rows, selection, reusing: handle)
    }

    func performDispatch(
        _ rows: TokenRows, _ selection: TopKSelection, reusing handle: DispatchHandle?
    ) throws(FathomError) -> Dispatched {
        let run: DispatchRun
        do throws(FathomError) {
            run = try prepare(rows, selection, handle)
        } catch {
            fail(error)
            throw error
        }
        epoch += 1
        var counts = [ExchangeCounts?](repeating: nil, count: placement.rankCount)
        counts[rank] = run.lists.counts(run.layout)
        var machine = DispatchProtocol(
            wiring: wiring, epoch: epoch, capacity: capacity, counts: handle?.counts ?? counts)
        var output: RecordBuffer?
        try self.run(&machine, named: "dispatch") { (action, machine) throws(FathomError) in
            if case .sized = action, !machine.landing[rank].staysInPlace {
                output = try AlignedBuffer(
                    count: machine.landing[rank].rowCount * memory.recordStride, purpose: "received tokens")
            }
            return try perform(action, run, machine, output)
        }
        return try finish(machine, run, output)
    }

    /// What a dispatch sends.
    private struct DispatchRun {
        var rows: TokenRows
        var selection: TopKSelection
        var layout: DispatchLayout
        var lists: SendLists
    }

    /// Rows in memory of their own, where the landing area is too small for them.
    private typealias RecordBuffer = AlignedBuffer<UInt8>

    private func prepare(
        _ rows: TokenRows, _ selection: TopKSelection, _ handle: DispatchHandle?
    ) throws(FathomError) -> DispatchRun {
        let selection = handle?.selection ?? selection
        guard selection.topK == topK, selection.tokenCount == rows.count else {
            throw FathomError(
                .usage,
                """
                rank \(rank): \(rows.count) rows and top-\(selection.topK) choices of \(selection.tokenCount) tokens \
                for an exchange of top-\(topK)
                """)
        }
        guard selection.experts.count < 1 << SignalValue.countBits else {
            throw FathomError(
                .usage, "rank \(rank): \(selection.experts.count) choices; up to 2^\(SignalValue.countBits) are legal")
        }
        guard format.scaleBytes == 0 || rows.scales != nil || rows.count == 0 else {
            throw FathomError(.usage, "rank \(rank): FP8 rows without scales")
        }
        let layout = if let handle { handle.layout } else { try DispatchLayout(selection, placement: placement) }
        return DispatchRun(
            rows: rows, selection: selection, layout: layout,
            lists: handle?.lists ?? SendLists(layout, wiring: wiring))
    }

    private func finish(
        _ machine: DispatchProtocol, _ run: DispatchRun, _ output: RecordBuffer?
    ) throws(FathomError) -> (tokens: ReceivedTokens, handle: DispatchHandle) {
        let own = placement.experts(of: rank)
        let counts = machine.counts.compactMap(\.self)
        let perExpert = (0..<placement.expertCount).map { expert in
            counts.reduce(0) { $0 + Int($1.toExpert[expert]) }
        }
        let plan = machine.landing[rank]
        let base = output.map { UnsafeRawPointer($0.baseAddress) } ?? UnsafeRawPointer(region.local + memory.landing(0))
        let tokens = ReceivedTokens(
            memory: memory, experts: own, hasWeights: run.selection.weights != nil,
            firstTokenOfSource: plan.firstRow, base: base, owner: output ?? region.region)
        let handle = DispatchHandle(
            selection: run.selection, layout: run.layout, lists: run.lists, counts: counts,
            plan: CombineProtocol.Plan(machine, layout: run.layout), epoch: epoch,
            staysInPlace: machine.landing.allSatisfy(\.staysInPlace), tokensPerLocalExpert: Array(perExpert[own]),
            tokensPerExpert: perExpert)
        return (tokens, handle)
    }

    // MARK: Actions

    private func perform(
        _ action: ExchangeAction, _ run: DispatchRun, _ machine: DispatchProtocol, _ output: RecordBuffer?
    ) throws(FathomError) -> ProtocolEvent? {
        switch action {
        case .putCounts(let peer): putCounts(run.lists.counts(run.layout), to: peer)
        case .readCounts(let peer): return .counts(from: peer, readCounts(from: peer))
        case .putRows(let target, let rows, let slot):
            let landing = machine.landing[target]
            let streams = landing.staysInPlace && exceedsCache(landing.rowCount * memory.recordStride)
            for row in rows {
                let token = Int(run.lists.toRank[target][row])
                put(token, run, to: target, at: memory.landing(slot + row - rows.lowerBound), streams: streams)
            }
        case .putRecords(let node, let rows, let slot):
            let first = wiring.node * capacity.relayRows + slot
            for row in rows {
                let token = Int(run.lists.toNode[node][row])
                put(
                    token, run, to: wiring.counterpart(onNode: node),
                    at: memory.relay(first + row - rows.lowerBound), streams: false)
            }
        case .readRecords(let node, let rows, let slot):
            return .records(fromNode: node, targets: (0..<rows.count).map { targets(ofRelaySlot: slot + $0) })
        case .forward(_, let relaySlot, let target, _, let slot):
            let record = UnsafeRawBufferPointer(
                start: region.local + memory.relay(relaySlot), count: memory.recordBytes)
            region.put(record, to: target, at: memory.landing(slot))
        case .takeRows(let source, let rows, let slot):
            guard let output else { throw FathomError(.internal, "rows are taken before their memory is made") }
            let first = machine.landing[rank].firstRow[source] + rows.lowerBound
            UnsafeMutableRawPointer(output.baseAddress + first * memory.recordStride)
                .copyMemory(
                    from: region.local + memory.landing(slot), byteCount: rows.count * memory.recordStride)
        default: break
        }
        return nil
    }

    private func putCounts(_ counts: ExchangeCounts, to peer: Int) {
        let all = counts.toRank + counts.toNode + counts.toExpert
        all.withUnsafeBytes { region.put($0, to: peer, at: memory.countsOffset(from: rank, epoch: epoch)) }
    }

    private func readCounts(from peer: Int) -> ExchangeCounts {
        let all = (0..<memory.countsLength).map { index in
            region.local.load(fromByteOffset: memory.countsOffset(from: peer, epoch: epoch) + 4 * index, as: Int32.self)
        }
        let nodes = placement.rankCount + wiring.nodeCount
        return ExchangeCounts(
            toRank: Array(all[..<placement.rankCount]), toNode: Array(all[placement.rankCount..<nodes]),
            toExpert: Array(all[nodes...]))
    }

    /// The ranks of this node that hold experts of a relayed token, as indices on the node, ascending.
    private func targets(ofRelaySlot slot: Int) -> [Int32] {
        let experts = region.local + memory.relay(slot) + memory.expertsOffset
        var targets: [Int32] = []
        for choice in 0..<topK {
            let id = Int(experts.load(fromByteOffset: 4 * choice, as: Int32.self))
            guard id >= 0 else { continue }
            let target = placement.rank(ofExpert: id)
            let index = Int32(target % wiring.nodeSize)
            if target / wiring.nodeSize == wiring.node, !targets.contains(index) { targets.append(index) }
        }
        return targets.sorted()
    }

    /// Writes a token's record to a rank's memory.
    private func put(_ token: Int, _ run: DispatchRun, to peer: Int, at offset: Int, streams: Bool) {
        if let mapped = region.peer(peer) {
            write(token, run, to: mapped + offset, streams: streams)
        } else {
            withUnsafeTemporaryAllocation(byteCount: memory.recordStride, alignment: ExchangeMemory.alignment) {
                guard let start = $0.baseAddress else { return }
                write(token, run, to: start, streams: false)
                region.put(UnsafeRawBufferPointer($0)[..<memory.recordBytes].rebased, to: peer, at: offset)
            }
        }
    }

    private func write(_ token: Int, _ run: DispatchRun, to record: UnsafeMutableRawPointer, streams: Bool) {
        if streams {
            fathom_stream_copy(record, run.rows.row(token), format.dataBytes)
        } else {
            record.copyMemory(from: run.rows.row(token), byteCount: format.dataBytes)
        }
        if let scales = run.rows.scales(token) {
            (record + format.scaleOffset).copyMemory(from: scales, byteCount: format.scaleBytes)
        }
        record.storeBytes(of: Int32(token), toByteOffset: memory.tokenOffset, as: Int32.self)
        run.selection.experts.withUnsafeBytes { experts in
            guard let start = experts.baseAddress else { return }
            (record + memory.expertsOffset).copyMemory(from: start + 4 * topK * token, byteCount: 4 * topK)
        }
        run.selection.weights?.withUnsafeBytes { weights in
            guard let start = weights.baseAddress else { return }
            (record + memory.weightsOffset).copyMemory(from: start + 4 * topK * token, byteCount: 4 * topK)
        }
    }
}

extension Slice<UnsafeRawBufferPointer> {
    /// The same bytes, counted from 0.
    fileprivate var rebased: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: self) }
}
