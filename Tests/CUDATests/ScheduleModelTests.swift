// SPDX-License-Identifier: MIT

import CUDA
import Testing

@Suite("Schedules explored in every order")
struct ScheduleModelTests {
    enum Fault: CaseIterable, Sendable {
        case none, missingArrive, wrongParity, noEmptyWait, earlyRelease, tooFewBytes, doubleArrival
    }

    /// One producer and `consumers` consumers on a ring of `stages` buffers.
    private static func ring(stages: Int, rounds: Int, consumers: Int, fault: Fault = .none) -> ScheduleModel {
        var model = ScheduleModel()
        let buffers = (0..<stages).map { model.buffer("stage \($0)") }
        let full = (0..<stages).map { model.barrier("full \($0)", arrivals: 1) }
        let empty = (0..<stages).map { model.barrier("empty \($0)", arrivals: consumers) }
        var producer: [ScheduleModel.Step] = []
        var consumer: [ScheduleModel.Step] = []
        for round in 0..<rounds {
            let (stage, parity) = (round % stages, round / stages % 2)
            if fault != .noEmptyWait { producer.append(.wait(empty[stage], parity: parity ^ 1)) }
            producer.append(.expect(full[stage], bytes: fault == .tooFewBytes ? 1 : 2))
            let target = ScheduleModel.LoadTarget(buffers[stage], full[stage], bytes: 2)
            producer.append(.load([target], tag: round))
            let wrong = fault == .wrongParity && round == stages
            consumer.append(.wait(full[stage], parity: wrong ? parity ^ 1 : parity))
            consumer.append(.beginRead(buffers[stage], tag: round))
            if fault == .earlyRelease { consumer.append(.arrive(empty[stage])) }
            consumer.append(.endRead(buffers[stage]))
            let missing = fault == .missingArrive && round == 0
            if fault != .earlyRelease && !missing { consumer.append(.arrive(empty[stage])) }
            if fault == .doubleArrival { consumer.append(.arrive(empty[stage])) }
        }
        for stage in 0..<stages { model.require(full[stage], phases: (rounds + stages - 1 - stage) / stages) }
        model.agent("producer", producer)
        for number in 0..<consumers { model.agent("consumer \(number)", consumer) }
        return model
    }

    @Test("A ring of buffers is right in every order", arguments: 1...3, 0...5)
    func ringIsRight(stages: Int, rounds: Int) {
        for consumers in 1...2 {
            let result = Self.ring(stages: stages, rounds: rounds, consumers: consumers).explore()
            #expect(result.fault == nil, "\(result.fault.map(String.init(describing:)) ?? "")")
            #expect(rounds == 0 || result.states > rounds)
        }
    }

    @Test("A planted fault is found", arguments: Fault.allCases.filter { $0 != .none })
    func plantedFault(_ fault: Fault) throws {
        let result = Self.ring(stages: 2, rounds: 5, consumers: 2, fault: fault).explore()
        let found = try #require(result.fault)
        switch fault {
        case .none: break
        case .missingArrive: #expect(found.kind == .deadlock)
        case .wrongParity: #expect([.deadlock, .readBeforeArrival].contains(found.kind))
        case .noEmptyWait, .earlyRelease:
            let kinds: [ScheduleFault.Kind] = [.overwriteBeforeRelease, .overlappingWrites, .excessArrival]
            #expect(kinds.contains(found.kind))
        case .tooFewBytes: #expect([.deadlock, .readBeforeArrival].contains(found.kind))
        case .doubleArrival: #expect(found.kind != .limitReached)
        }
        #expect(!found.path.isEmpty)
    }

    @Test("Named barriers hand a buffer from one warpgroup to another")
    func namedBarriers() {
        func model(ordered: Bool) -> ScheduleModel {
            var model = ScheduleModel()
            let buffer = model.buffer("P")
            let ready = model.namedBarrier("ready", participants: 2)
            let taken = model.namedBarrier("taken", participants: 2)
            var writer: [ScheduleModel.Step] = []
            var reader: [ScheduleModel.Step] = []
            for round in 0..<3 {
                if round > 0, ordered { writer.append(.sync(taken)) }
                writer += [.write(buffer, tag: round), .arriveNamed(ready)]
                reader += [.sync(ready), .beginRead(buffer, tag: round), .endRead(buffer)]
                if round < 2, ordered { reader.append(.arriveNamed(taken)) }
            }
            model.agent("writer", writer)
            model.agent("reader", reader)
            return model
        }
        #expect(model(ordered: true).explore().fault == nil)
        #expect(model(ordered: false).explore().fault != nil)
    }

    @Test("A store reads its buffer until it was waited for")
    func stores() {
        func model(waits: Bool) -> ScheduleModel {
            var model = ScheduleModel()
            let buffer = model.buffer("D")
            var steps: [ScheduleModel.Step] = []
            for tile in 0..<2 {
                if waits { steps.append(.waitStores(pending: 0)) }
                steps += [.write(buffer, tag: tile), .store(buffer, tag: tile)]
            }
            model.agent("math", steps + [.waitStores(pending: 0)])
            return model
        }
        #expect(model(waits: true).explore().fault == nil)
        #expect(model(waits: false).explore().fault?.kind == .overwriteBeforeRelease)
    }

    @Test("An exploration that is too large says so")
    func limit() {
        let result = Self.ring(stages: 3, rounds: 5, consumers: 2).explore(limit: 10)
        #expect(result.fault?.kind == .limitReached)
    }
}
