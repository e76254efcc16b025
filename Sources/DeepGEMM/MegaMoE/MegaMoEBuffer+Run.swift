// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Platform
internal import Ranks
internal import Workers

// SAFETY: In this file pointers are to areas of the shared memory as `MegaMoEMemory` divides them, to the tokens of a
// checked call, and to a workspace that was laid out for the rows; who may touch what when is what `MegaMoEProtocol`
// says.

extension MegaMoEBuffer {
    /// One operation.
    func run(
        _ call: MegaMoECall, _ machine: inout MegaMoEProtocol, _ workspace: MegaMoEWorkspace,
        on context: ComputeContext
    ) throws(FathomError) -> [Int] {
        show(call, on: context)
        let ready = machine.begin()
        for rank in 0..<group.rankCount { region.signal(rank, memory.readyWord(from: group.rank), ready, counts: true) }
        try wait("have their tokens ready", memory.readyWord) { machine.isReady($0) }
        let peers = try peers()
        let starts = starts(peers, tokenCount: call.choices.tokenCount)
        let rowCount = starts.last ?? 0
        let form = call.options.form(of: call.weights)
        let waveRows = min(rowCount, MegaMoEPass.waveRows)
        let betweenBytes = waveRows * MegaMoEBetween.rowBytes(form, columnCount: shape.intermediate)
        let layout = MegaMoELayout(
            rowCount: rowCount, betweenBytes: betweenBytes, slotBytes: waveRows * memory.recordBytes)
        try workspace.withMemory(byteCount: layout.byteCount) { (base) throws(FathomError) in
            let lists = Lists(
                records: base.assumingMemoryBound(to: UnsafeRawPointer.self),
                places: (base + layout.placesOffset).assumingMemoryBound(to: UnsafeMutableRawPointer.self),
                weights: (base + layout.weightsOffset).assumingMemoryBound(to: Float.self))
            fill(lists, starts, peers, tokenCount: call.choices.tokenCount)
            let pulled = base + layout.slotsOffset
            let pass = MegaMoEPass(
                x: memory.operand(pulled, rowCount: waveRows), sources: nil, rowWeights: UnsafePointer(lists.weights),
                places: UnsafePointer(lists.places), starts: starts,
                weights: [call.weights] + (call.shared.map { [$0] } ?? []), unit: call.options.unit,
                between: MegaMoEBetween(
                    base: base + layout.betweenOffset, form: form, rowCount: waveRows,
                    columnCount: shape.intermediate))
            for wave in MegaMoEPass.waves(of: starts) {
                pull(wave, lists.records, to: pulled, on: context)
                pass.run(wave, on: context)
                let step = machine.advance()
                for rank in 0..<group.rankCount { region.signal(rank, memory.doneWord(from: group.rank), step) }
            }
        }
        for rank in 0..<group.rankCount {
            region.signal(rank, memory.doneWord(from: group.rank), machine.finish(), counts: true)
        }
        try wait("finish with this rank's tokens", memory.doneWord) { machine.isDone($0) }
        slots(region.local).sum(
            tokens: call.choices.tokenCount, topK: shape.topK, experts: call.choices.experts,
            into: ResultSlice(call.y), on: context)
        return (0..<shape.localExperts).map { starts[$0 + 1] - starts[$0] }
    }

    private func slots(_ base: UnsafeMutableRawPointer) -> MegaMoESlots {
        MegaMoESlots(base: base + memory.slotsOffset, slotCount: shape.slotCount, hidden: shape.hidden)
    }

    private func peers() throws(FathomError) -> [UnsafeMutableRawPointer] {
        var peers: [UnsafeMutableRawPointer] = []
        for rank in 0..<group.rankCount {
            guard let peer = region.peer(rank) else {
                throw FathomError(.internal, "rank \(rank)'s memory is not mapped at rank \(group.rank)")
            }
            peers.append(peer)
        }
        return peers
    }

    // MARK: This rank's tokens

    /// Writes tokens and choices to where the others read them.
    private func show(_ call: MegaMoECall, on context: ComputeContext) {
        let base = region.local
        let choices = call.choices
        let starts = (base + memory.startsOffset).assumingMemoryBound(to: Int32.self)
        let list = (base + memory.listOffset).assumingMemoryBound(to: Int32.self)
        let weights = (base + memory.weightsOffset).assumingMemoryBound(to: Float.self)
        var next = [Int32](repeating: 0, count: shape.experts + 1)
        for choice in 0..<choices.tokenCount * choices.topK where choices.experts[choice] >= 0 {
            next[Int(choices.experts[choice]) + 1] += 1
        }
        for expert in 0..<shape.experts { next[expert + 1] += next[expert] }
        for expert in 0...shape.experts { starts[expert] = next[expert] }
        for choice in 0..<choices.tokenCount * choices.topK where choices.experts[choice] >= 0 {
            let expert = Int(choices.experts[choice])
            list[Int(next[expert])] = Int32(choice)
            next[expert] += 1
            weights[choice] = choices.weights[choice]
        }
        let x = OperandSlice(call.x)
        let records = base + memory.recordsOffset
        inBundles(choices.tokenCount, on: context) { token in
            memory.store(x, row: token, to: records + token * memory.recordBytes)
        }
    }

    // MARK: Rows for this rank's experts

    /// For each row where its record is, where its result goes, and its weight.
    private struct Lists {
        var records: UnsafeMutablePointer<UnsafeRawPointer>
        var places: UnsafeMutablePointer<UnsafeMutableRawPointer>
        var weights: UnsafeMutablePointer<Float>
    }

    /// The choices of an expert in a rank's list.
    private func choices(of expert: Int, _ peer: UnsafeMutableRawPointer) -> Range<Int> {
        let starts = (peer + memory.startsOffset).assumingMemoryBound(to: Int32.self)
        return Int(starts[expert])..<Int(starts[expert + 1])
    }

    /// Where the rows of each of this rank's experts begin, the shared ones last; behind them all rows.
    private func starts(_ peers: [UnsafeMutableRawPointer], tokenCount: Int) -> [Int] {
        var starts = [0]
        for expert in localExperts {
            starts.append(starts[starts.count - 1] + peers.reduce(0) { $0 + choices(of: expert, $1).count })
        }
        for _ in 0..<shape.sharedExperts { starts.append(starts[starts.count - 1] + tokenCount) }
        return starts
    }

    /// Rows of an expert are in order of (rank, token, slot).
    private func fill(_ lists: Lists, _ starts: [Int], _ peers: [UnsafeMutableRawPointer], tokenCount: Int) {
        func add(_ row: Int, _ peer: UnsafeMutableRawPointer, token: Int, slot: Int, weight: Float) {
            (lists.records + row).initialize(
                to: UnsafeRawPointer(peer + memory.recordsOffset + token * memory.recordBytes))
            (lists.places + row).initialize(to: slots(peer).place(token: token, slot: slot))
            (lists.weights + row).initialize(to: weight)
        }
        for (index, expert) in localExperts.enumerated() {
            var row = starts[index]
            for peer in peers {
                let list = (peer + memory.listOffset).assumingMemoryBound(to: Int32.self)
                let weights = (peer + memory.weightsOffset).assumingMemoryBound(to: Float.self)
                for place in choices(of: expert, peer) {
                    let (token, slot) = Int(list[place]).quotientAndRemainder(dividingBy: shape.topK)
                    add(row, peer, token: token, slot: slot, weight: weights[Int(list[place])])
                    row += 1
                }
            }
        }
        for shared in 0..<shape.sharedExperts {
            let first = starts[shape.localExperts + shared]
            for token in 0..<tokenCount {
                add(first + token, region.local, token: token, slot: shape.topK + shared, weight: 1)
            }
        }
    }

    /// Copies the records of a wave.
    private func pull(
        _ wave: Range<Int>, _ records: UnsafeMutablePointer<UnsafeRawPointer>, to pulled: UnsafeMutableRawPointer,
        on context: ComputeContext
    ) {
        inBundles(wave.count, on: context) { row in
            (pulled + row * memory.recordBytes).copyMemory(
                from: records[wave.lowerBound + row], byteCount: memory.recordBytes)
        }
    }

    /// Bytes of records that one task copies, at least.
    private static let copiedBytes = 1 << 18

    /// Calls `body` for each of some records, on all threads.
    private func inBundles(_ count: Int, on context: ComputeContext, _ body: (Int) -> Void) {
        let bundle = max(1, Self.copiedBytes / memory.recordBytes, ceilDivide(count, 1 << 19))
        withoutActuallyEscaping(body) { body in
            context.team.run(taskCount: ceilDivide(count, bundle)) { task, _ in
                for index in task * bundle..<min((task + 1) * bundle, count) { body(index) }
            }
        }
    }

    // MARK: Waiting

    /// Waits until a word of every rank is as it must be. The time begins anew with each step of a rank that is
    /// missing.
    private func wait(
        _ what: String, _ word: (_ rank: Int) -> Int, until holds: (UInt64) -> Bool
    ) throws(FathomError) {
        func missing() -> [Int] { (0..<group.rankCount).filter { !holds(region.value(word($0))) } }
        while true {
            let late = missing()
            let seen = late.map { region.value(word($0)) }
            func haveMoved() -> Bool { zip(late, seen).contains { region.value(word($0)) != $1 } }
            let came = try group.wait(
                timeoutMilliseconds: timeoutMilliseconds, watching: late, for: "to \(what)",
                arrivals: { missing().count }, until: { missing().isEmpty || haveMoved() })
            if missing().isEmpty { return }
            guard came else {
                throw FathomError(
                    .unavailable,
                    "rank \(group.rank) waited \(timeoutMilliseconds) ms for rank "
                        + missing().map(String.init).joined(separator: ", ") + " to \(what)")
            }
        }
    }
}
