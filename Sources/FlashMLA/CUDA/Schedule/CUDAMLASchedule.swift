// SPDX-License-Identifier: MIT

package import CUDA

/// The schedule of `mla.cu` as a model that can be explored: the copier, the two warpgroups that take turns, the two
/// pages of keys with their boxes, and the rows of maxima.
///
/// Boxes are in groups that are loaded and read alike: the left values, the right values, the rotated part of the keys,
/// which then takes the page's weights. Everything that the kernel's loops do is here in the same order; change both
/// together.
package struct CUDAMLASchedule: Hashable, Sendable {
    /// Mistakes that an exploration must find.
    package enum Fault: String, CaseIterable, Sendable {
        case none
        /// The first warpgroup forgets to release its half of the second page.
        case missingRelease
        /// The copier's parity does not flip.
        case copierParity
        /// The second warpgroup's parity is not carried from pair to pair.
        case consumerParity
        /// The first page is released for its right half before the other warpgroup has read it.
        case earlyRelease
        /// The second warpgroup does not wait for the first one's weights.
        case noFirstReady
        /// The second warpgroup does not wait for the first one's maxima.
        case noMaximaReady
        /// Weights go to their place before the scores have been made.
        case earlyWeights
        /// The box of the weights of the first page is refilled with the left half.
        case weightsInWrongPart
        /// An unpacking warp says that its rows are there before it has written them.
        case earlyArrival
        /// The unpacking warps wait for one half of a page only.
        case halfWait
    }

    /// Pages of each stretch.
    package var stretches: [Int]
    /// Whether the last page of each stretch has rows that are cleared.
    package var clearsTails: Bool
    /// With index lists, the warps that unpack rows instead of a copier; each has its share of a page's rows. Two stand
    /// for the kernel's four.
    package var unpackers: Int
    package var fault: Fault

    package init(stretches: [Int], clearsTails: Bool = false, unpackers: Int = 0, fault: Fault = .none) {
        self.stretches = stretches
        self.clearsTails = clearsTails
        self.unpackers = unpackers
        self.fault = fault
    }

    /// The groups of boxes of a page.
    private enum Group: Int, CaseIterable {
        case left, right, rotated
    }

    /// Shared memory and barriers of a block.
    private struct Places {
        var full: [[ScheduleModel.Barrier]]
        var empty: [[ScheduleModel.Barrier]]
        /// By page, group and share.
        var boxes: [[[ScheduleModel.Buffer]]]
        /// By page and share: which keys are holes.
        var holes: [[ScheduleModel.Buffer]]
        var maxima: [ScheduleModel.Buffer]
        var maximaReady, secondReady, firstReady, both: ScheduleModel.NamedBarrier

        init(_ model: inout ScheduleModel, unpackers: Int) {
            let shares = max(1, unpackers)
            full = (0..<2).map { buffer in
                Group.allCases.map { model.barrier("full \(buffer).\($0)", arrivals: shares) }
            }
            empty = (0..<2).map { buffer in
                (0..<2).map { model.barrier("empty \(buffer).\($0)", arrivals: buffer == $0 ? 1 : 2) }
            }
            boxes = (0..<2).map { buffer in
                Group.allCases.map { group in
                    (0..<shares).map { model.buffer("page \(buffer) \(group) share \($0)") }
                }
            }
            holes = (0..<2).map { buffer in
                (0..<unpackers).map { model.buffer("holes of page \(buffer) share \($0)") }
            }
            maxima = (0..<2).map { model.buffer("maxima \($0)") }
            maximaReady = model.namedBarrier("maxima ready", participants: 2)
            secondReady = model.namedBarrier("second ready", participants: 2)
            firstReady = model.namedBarrier("first ready", participants: 2)
            both = model.namedBarrier("both", participants: 2)
        }
    }

    /// A pair of pages: tags of what the boxes hold, and the parities of their barriers.
    private struct Pair {
        var number: Int
        var first: Int
        var second: Int?
        var firstParity: Int
        var secondParity: Int
        var clearsFirst: Bool
        var clearsSecond: Bool
    }

    /// The model of this schedule.
    package var model: ScheduleModel {
        var model = ScheduleModel()
        let places = Places(&model, unpackers: unpackers)
        if unpackers == 0 { model.agent("copier", copier(places)) }
        for share in 0..<unpackers { model.agent("unpacker \(share)", unpacker(share, places)) }
        var first: [ScheduleModel.Step] = []
        var second: [ScheduleModel.Step] = []
        var number = 0
        var page = 0
        var rounds = [0, 0]
        for count in stretches {
            // The queries of the stretch before are not read any more; then they are there.
            let begin: [ScheduleModel.Step] = [.sync(places.both), .sync(places.both)]
            first += begin
            second += begin
            for start in stride(from: 0, to: count, by: 2) {
                let hasSecond = start + 1 < count
                let pair = Pair(
                    number: number, first: page + start, second: hasSecond ? page + start + 1 : nil,
                    firstParity: rounds[0] % 2, secondParity: rounds[1] % 2,
                    clearsFirst: clearsTails && start + 1 == count, clearsSecond: clearsTails && start + 2 == count)
                first += firstWarpgroup(pair, places)
                second += secondWarpgroup(pair, places)
                number += 1
                rounds[0] += 1
                if hasSecond { rounds[1] += 1 }
            }
            page += count
            first.append(.sync(places.both))
            second.append(.sync(places.both))
        }
        model.agent("first", first)
        model.agent("second", second)
        for buffer in 0..<2 {
            for barrier in places.full[buffer] + places.empty[buffer] {
                model.require(barrier, phases: rounds[buffer])
            }
        }
        return model
    }

    /// What a page's weights are tagged with.
    private func weights(_ page: Int) -> Int { 1000 + page }

    private func copier(_ places: Places) -> [ScheduleModel.Step] {
        var steps: [ScheduleModel.Step] = []
        var rounds = [0, 0]
        var page = 0
        for count in stretches {
            for index in 0..<count {
                let buffer = index % 2
                let flipped = fault == .copierParity ? 1 : (rounds[buffer] + 1) % 2
                for part in 0..<2 {
                    steps.append(.wait(places.empty[buffer][part], parity: flipped))
                    for group in Group.allCases where self.part(of: group, buffer) == part {
                        let full = places.full[buffer][group.rawValue]
                        steps.append(.expect(full, bytes: 1))
                        steps.append(.load([.init(places.boxes[buffer][group.rawValue][0], full, bytes: 1)], tag: page))
                    }
                }
                rounds[buffer] += 1
                page += 1
            }
        }
        return steps
    }

    private func unpacker(_ share: Int, _ places: Places) -> [ScheduleModel.Step] {
        var steps: [ScheduleModel.Step] = []
        var rounds = [0, 0]
        var page = 0
        for count in stretches {
            for index in 0..<count {
                let buffer = index % 2
                let flipped = fault == .copierParity ? 1 : (rounds[buffer] + 1) % 2
                for part in 0..<(fault == .halfWait ? 1 : 2) {
                    steps.append(.wait(places.empty[buffer][part], parity: flipped))
                }
                let writes =
                    places.boxes[buffer].map { ScheduleModel.Step.write($0[share], tag: page) }
                    + [.write(places.holes[buffer][share], tag: page)]
                let arrivals = places.full[buffer].map { ScheduleModel.Step.arrive($0) }
                steps += fault == .earlyArrival && share == 0 ? arrivals + writes : writes + arrivals
                rounds[buffer] += 1
                page += 1
            }
        }
        return steps
    }

    private func beginRead(_ box: [ScheduleModel.Buffer], tag: Int) -> [ScheduleModel.Step] {
        box.map { .beginRead($0, tag: tag) }
    }

    private func endRead(_ box: [ScheduleModel.Buffer]) -> [ScheduleModel.Step] { box.map { .endRead($0) } }

    private func write(_ box: [ScheduleModel.Buffer], tag: Int) -> [ScheduleModel.Step] {
        box.map { .write($0, tag: tag) }
    }

    /// A warpgroup looks which keys of its page are holes.
    private func readHoles(_ box: [ScheduleModel.Buffer], tag: Int) -> [ScheduleModel.Step] {
        beginRead(box, tag: tag) + endRead(box)
    }

    private func part(of group: Group, _ buffer: Int) -> Int {
        switch group {
        case .left: 0
        case .right: 1
        case .rotated: fault == .weightsInWrongPart ? buffer : 1 - buffer
        }
    }

    private func firstWarpgroup(_ pair: Pair, _ places: Places) -> [ScheduleModel.Step] {
        let page = places.boxes[0]
        var steps: [ScheduleModel.Step] = []
        for group in Group.allCases {
            steps.append(.wait(places.full[0][group.rawValue], parity: pair.firstParity))
            steps += beginRead(page[group.rawValue], tag: pair.first)
        }
        if fault == .earlyWeights { steps += write(page[2], tag: weights(pair.first)) }
        steps += page.flatMap(endRead)
        steps += readHoles(places.holes[0], tag: pair.first)
        steps += [.write(places.maxima[0], tag: pair.number), .arriveNamed(places.maximaReady)]
        if pair.clearsFirst { steps += write(page[0], tag: pair.first) }
        steps += beginRead(page[0], tag: pair.first)
        if pair.second != nil {
            steps += [
                .sync(places.secondReady), .beginRead(places.maxima[1], tag: pair.number),
                .endRead(places.maxima[1]),
            ]
        }
        if fault != .earlyWeights { steps += write(page[2], tag: weights(pair.first)) }
        steps += [.arriveNamed(places.firstReady), .arrive(places.empty[0][1])]
        if fault == .earlyRelease { steps.append(.arrive(places.empty[0][1])) }
        steps += endRead(page[0]) + [.arrive(places.empty[0][0])]
        guard let second = pair.second else { return steps }
        let other = places.boxes[1]
        steps.append(.wait(places.full[1][0], parity: pair.secondParity))
        if pair.clearsSecond { steps += write(other[0], tag: second) }
        steps += beginRead(other[0], tag: second) + beginRead(other[2], tag: weights(second))
        steps += endRead(other[0]) + endRead(other[2])
        if !(fault == .missingRelease && pair.number == 0) { steps.append(.arrive(places.empty[1][0])) }
        return steps
    }

    private func secondWarpgroup(_ pair: Pair, _ places: Places) -> [ScheduleModel.Step] {
        let page = places.boxes[1]
        var steps: [ScheduleModel.Step] = []
        if let second = pair.second {
            for group in Group.allCases {
                let parity = fault == .consumerParity ? 0 : pair.secondParity
                steps.append(.wait(places.full[1][group.rawValue], parity: parity))
                steps += beginRead(page[group.rawValue], tag: second)
            }
            steps += page.flatMap(endRead)
            steps += readHoles(places.holes[1], tag: second)
        }
        if fault != .noMaximaReady { steps.append(.sync(places.maximaReady)) }
        steps += [.beginRead(places.maxima[0], tag: pair.number), .endRead(places.maxima[0])]
        if let second = pair.second {
            steps.append(.write(places.maxima[1], tag: pair.number))
            steps += write(page[2], tag: weights(second))
            steps += [.arriveNamed(places.secondReady), .arrive(places.empty[1][0])]
            if pair.clearsSecond { steps += write(page[1], tag: second) }
            steps += beginRead(page[1], tag: second)
        }
        if fault != .noFirstReady { steps.append(.sync(places.firstReady)) }
        let other = places.boxes[0]
        steps.append(.wait(places.full[0][1], parity: pair.firstParity))
        if pair.clearsFirst { steps += write(other[1], tag: pair.first) }
        steps += beginRead(other[1], tag: pair.first) + beginRead(other[2], tag: weights(pair.first))
        if pair.second != nil { steps += endRead(page[1]) }
        steps += endRead(other[1]) + endRead(other[2])
        if pair.second != nil { steps.append(.arrive(places.empty[1][1])) }
        if fault != .earlyRelease { steps.append(.arrive(places.empty[0][1])) }
        return steps
    }
}
