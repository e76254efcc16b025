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
        let run: CombineRun
        do throws(FathomError) {
            run = try prepare(returned, handle, options)
        } catch {
            fail(error)
            throw error
        }
        epoch += 1
        var machine = CombineProtocol(plan: handle.plan, epoch: epoch)
        var weights: [Float]? = options.weights == nil ? nil : Array(repeating: 0, count: handle.tokenCount * topK)
        try self.run(&machine, named: "combine") { (action, _) throws(FathomError) in
            perform(action, run, &weights)
            return nil
        }
        return CombinedTokens(rows: run.sums, weights: weights)
    }

    /// What a combine works on.
    private struct CombineRun {
        var returned: TokenRows
        var options: CombineOptions
        /// The first received token of each source.
        var firstRow: [Int]
        var sums: AlignedBuffer<UInt8>
        /// A row for a sum on the way.
        var partial: AlignedBuffer<UInt8>
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
        return CombineRun(
            returned: returned, options: options, firstRow: firstRow,
            sums: try AlignedBuffer(
                count: handle.tokenCount * memory.returnDataBytes, purpose: "combined tokens"),
            partial: try AlignedBuffer(count: memory.returnStride, purpose: "a sum on the way"))
    }

    private func perform(_ action: ExchangeAction, _ run: CombineRun, _ weights: inout [Float]?) {
        switch action {
        case .returnRows(let source, let peer, let rows, let slot):
            for row in rows {
                put(run, row: run.firstRow[source] + row, to: peer, at: memory.returned(slot + row - rows.lowerBound))
            }
        case .relaySum(let node, _, let parts, let slot):
            let peer = wiring.counterpart(onNode: node)
            let partial = UnsafeMutableRawPointer(run.partial.baseAddress)
            let addresses = parts.map(address)
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
        var addresses: [UnsafeRawPointer] = run.options.biases.map { $0.row(token) }
        var own: [UnsafeRawPointer] = []
        var others: [(node: Int, row: UnsafeRawPointer)] = []
        for part in parts {
            if case .fromNode(let node, _, _) = part {
                others.append((node, address(part)))
            } else {
                own.append(address(part))
            }
        }
        if wiring.nodeCount == 1 {
            addresses += own
        } else {
            let before = others.filter { $0.node < wiring.node }.map(\.row)
            let after = others.filter { $0.node > wiring.node }.map(\.row)
            if !own.isEmpty {
                let partial = UnsafeMutableRawPointer(run.partial.baseAddress)
                sum(own, to: partial)
                own = [UnsafeRawPointer(partial)]
            }
            addresses += before + own + after
        }
        sum(addresses, to: sums)
        guard weights != nil else { return }
        for choice in 0..<topK {
            // A choice's weight comes from one rank; the others return zero.
            var total: Float = 0
            for part in parts {
                total += address(part).load(
                    fromByteOffset: memory.returnWeightsOffset + 4 * choice, as: Float.self)
            }
            weights?[token * topK + choice] = total
        }
    }

    private func sum(_ parts: [UnsafeRawPointer], to out: UnsafeMutableRawPointer) {
        if memory.returnElementBytes == 4 {
            RowSum.float32(parts, to: out, count: format.hidden)
        } else {
            RowSum.bfloat16(parts, to: out, count: format.hidden)
        }
    }

    private func sumWeights(_ parts: [UnsafeRawPointer], to out: UnsafeMutableRawPointer) {
        RowSum.float32(parts.map { $0 + memory.returnWeightsOffset }, to: out, count: topK)
    }

    /// The slot of a part, in this rank's memory.
    private func address(_ part: SumPart) -> UnsafeRawPointer {
        switch part {
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
