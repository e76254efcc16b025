// SPDX-License-Identifier: MIT

import EPLB
import Platform
import TestSupport
import Testing

@Suite("Load prediction")
struct LoadWindowTests {
    private func window(_ rows: [[Float]], capacity: Int = 8) throws -> LoadWindow {
        var window = try LoadWindow(capacity: capacity)
        for row in rows { try window.observe(try ExpertLoads([row])) }
        return window
    }

    @Test("a window keeps the newest observations")
    func capacity() throws {
        let window = try window([[9, 9], [1, 2], [3, 6]], capacity: 2)
        #expect(window.observations.count == 2)
        #expect(try window.predicted().values == [2, 4])
    }

    @Test("a fading mean weighs the newest most")
    func fading() throws {
        let window = try window([[0, 8], [4, 0]])
        #expect(try window.predicted(by: .fading(retention: 1)).values == [2, 4])
        #expect(try window.predicted(by: .fading(retention: 0)).values == [4, 0])
        #expect(try window.predicted(by: .fading(retention: 1.0 / 3)).values == [3, 2])
    }

    @Test("a trend goes on as it went, and stops at zero")
    func trend() throws {
        let window = try window([[1, 30, 5], [3, 20, 5], [5, 10, 5], [7, 0, 5]])
        #expect(try window.predicted(by: .trend).values == [9, 0, 5])
        let one = try self.window([[4, 2]])
        #expect(try one.predicted(by: .trend).values == [4, 2])
    }

    @Test("deviations make a varying expert heavier than a steady one of the same mean")
    func deviations() throws {
        let window = try window([[0, 4], [8, 4]])
        #expect(try window.predicted(deviations: 1.5).values == [10, 4])
    }

    @Test("predicted loads beat those of the last window where loads swing")
    func benefit() throws {
        // Two experts take turns: the mean knows both, the last observation one.
        var window = try LoadWindow(capacity: 4)
        for step in 0..<4 {
            try window.observe(try ExpertLoads([step % 2 == 0 ? [90, 10, 40, 20] : [10, 90, 40, 20]]))
        }
        let shape = PlacementShape(replicaCount: 6, rankCount: 3)
        let options = RebalanceOptions(separatesReplicas: true)
        let next = try ExpertLoads([[90, 10, 40, 20]])
        let newest = try #require(window.observations.last)
        let last = try rebalanceExperts(newest, on: shape, options: options).quality(under: next)
        let mean = try rebalanceExperts(try window.predicted(), on: shape, options: options).quality(under: next)
        #expect(mean.balancedness > last.balancedness * 1.3)
    }

    @Test("misuse is an error")
    func misuse() throws {
        expectFailure(.usage, naming: ["window", "0"]) { () throws(FathomError) in _ = try LoadWindow(capacity: 0) }
        let empty = try LoadWindow(capacity: 1)
        expectFailure(.unavailable, naming: ["empty"]) { () throws(FathomError) in _ = try empty.predicted() }
        let full = try window([[1, 2]])
        expectFailure(.usage, naming: ["retention", "2.0"]) { () throws(FathomError) in
            _ = try full.predicted(by: .fading(retention: 2))
        }
        expectFailure(.usage, naming: ["deviations", "nan"]) { () throws(FathomError) in
            _ = try full.predicted(deviations: .nan)
        }
        let other = try ExpertLoads([[1, 2, 3]])
        expectFailure(.usage, naming: ["3 experts", "of 2"]) { () throws(FathomError) in
            var window = full
            try window.observe(other)
        }
    }
}
