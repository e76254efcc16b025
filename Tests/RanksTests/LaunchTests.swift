// SPDX-License-Identifier: MIT

import Platform
import Ranks
import TestSupport
import Testing

@Suite("Launch")
struct LaunchTests {
    typealias Signal = LaunchSupervision.Signal

    @Test("The first failure decides, the others are asked to end and then made to")
    func failure() {
        var supervision = LaunchSupervision(rankCount: 3, keepsGoing: false, graceMilliseconds: 100)
        #expect(supervision.handle(.ended(rank: 0, .exited(0)), atMilliseconds: 0) == [])
        let actions = supervision.handle(.ended(rank: 1, .exited(7)), atMilliseconds: 50)
        #expect(actions.contains(.send(signal: Signal.terminate, rank: 2)))
        #expect(actions.contains(.send(signal: Signal.resume, rank: 2)))
        #expect(!actions.contains(.send(signal: Signal.terminate, rank: 0)))
        #expect(supervision.handle(.clock, atMilliseconds: 149) == [])
        #expect(supervision.handle(.clock, atMilliseconds: 150).contains(.send(signal: Signal.kill, rank: 2)))
        #expect(supervision.handle(.clock, atMilliseconds: 151) == [])
        #expect(!supervision.isFinished)
        #expect(supervision.handle(.ended(rank: 2, .signalled(9)), atMilliseconds: 160) == [])
        #expect(supervision.isFinished && supervision.status == 7)
    }

    @Test("Ranks that keep going are left alone, and the first failure is still the status")
    func keepGoing() {
        var supervision = LaunchSupervision(rankCount: 2, keepsGoing: true, graceMilliseconds: 100)
        let actions = supervision.handle(.ended(rank: 0, .signalled(11)), atMilliseconds: 0)
        #expect(actions == [.say("rank 0 was ended by signal 11")])
        #expect(supervision.handle(.clock, atMilliseconds: 10_000) == [])
        #expect(supervision.handle(.ended(rank: 1, .exited(0)), atMilliseconds: 10_001) == [])
        #expect(supervision.isFinished && supervision.status == 139)
    }

    @Test("Signals go to all that run; those that ask to end are followed up")
    func signals() {
        var supervision = LaunchSupervision(rankCount: 2, keepsGoing: true, graceMilliseconds: 100)
        #expect(supervision.handle(.signal(Signal.user1), atMilliseconds: 0).count == 2)
        #expect(supervision.handle(.clock, atMilliseconds: 1_000) == [])
        #expect(supervision.handle(.signal(Signal.interrupt), atMilliseconds: 1_000).count == 2)
        // A second one does not lengthen the grace.
        _ = supervision.handle(.signal(Signal.interrupt), atMilliseconds: 1_090)
        #expect(supervision.handle(.clock, atMilliseconds: 1_100).contains(.send(signal: Signal.kill, rank: 1)))
    }

    @Test("Lines come out whole, with the rank before each")
    func lines() {
        var lines = LinePrefixer(rank: 7, width: 2)
        #expect(lines.feed(Array("one\ntw".utf8)) == Array("[ 7] one\n".utf8))
        #expect(lines.feed(Array("o\n\nthree".utf8)) == Array("[ 7] two\n[ 7] \n".utf8))
        #expect(lines.finish() == Array("[ 7] three\n".utf8))
        #expect(lines.finish() == [])
        let long = lines.feed([UInt8](repeating: 65, count: LinePrefixer.maximumLineByteCount + 1))
        #expect(long.count == LinePrefixer.maximumLineByteCount + 6)
        #expect(lines.finish() == Array("[ 7] A\n".utf8))
    }

    @Test("A program that is not there is missing input, by name")
    func missing() throws {
        let launcher = try RankLauncher(Topology(rankCount: 2), command: ["/no/such/program"])
        expectFailure(.missingInput, naming: ["/no/such/program"]) { () throws(FathomError) in
            _ = try launcher.run(variables: [:]) { _, _ in
                true
            } say: { _ in
            }
        }
        expectFailure(.usage, naming: ["--"]) { () throws(FathomError) in
            _ = try RankLauncher(try Topology(rankCount: 2), command: [])
        }
    }
}
