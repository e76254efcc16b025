// SPDX-License-Identifier: MIT

/// Tasks on a lane of computation and a lane of communication: each lane works in the order given, and a task waits for
/// what it depends on.
struct TwoLanes {
    private var end: [Double] = []
    private var free: [Double] = [0, 0]

    /// Seconds that each lane worked.
    private(set) var busy: [Double] = [0, 0]

    /// The end of the last task.
    var span: Double { free.max() ?? 0 }

    /// Adds a task behind the others of its lane.
    ///
    /// - Parameters:
    ///   - lane: 0 for computation, 1 for communication.
    ///   - earlier: tasks that must have ended.
    /// - Returns: the task's number.
    mutating func add(lane: Int, seconds: Double, after earlier: [Int]) -> Int {
        let start = earlier.reduce(free[lane]) { max($0, end[$1]) }
        end.append(start + seconds)
        free[lane] = start + seconds
        busy[lane] += seconds
        return end.count - 1
    }
}

extension TwoLanes {
    /// Layers whose mean gives the steady state, after as many to warm up.
    private static let layers = 16

    /// Seconds of one layer for both micro-batches of prefill, in DeepSeek's order: the communication of one runs under
    /// the computation of the other.
    static func prefillLayer(
        attention: Double, shared: Double, experts: Double, dispatch: Double, combine: Double
    )
        -> Double
    {
        var lanes = TwoLanes()
        var (sharedA, sharedB): (Int?, Int?) = (nil, nil)
        var (combineA, combineB): (Int?, Int?) = (nil, nil)
        var expertsB: Int?
        var middle = 0.0
        for layer in 0..<2 * layers {
            if layer == layers { middle = lanes.span }
            let attentionA = lanes.add(lane: 0, seconds: attention, after: [sharedA, combineA].compactMap { $0 })
            if let expertsB { combineB = lanes.add(lane: 1, seconds: combine, after: [expertsB]) }
            if layer > 0 { sharedB = lanes.add(lane: 0, seconds: shared, after: []) }
            let dispatchA = lanes.add(lane: 1, seconds: dispatch, after: [attentionA])
            let attentionB = lanes.add(lane: 0, seconds: attention, after: [sharedB, combineB].compactMap { $0 })
            let expertsA = lanes.add(lane: 0, seconds: experts, after: [dispatchA])
            let dispatchB = lanes.add(lane: 1, seconds: dispatch, after: [attentionB])
            combineA = lanes.add(lane: 1, seconds: combine, after: [expertsA])
            expertsB = lanes.add(lane: 0, seconds: experts, after: [dispatchB])
            sharedA = lanes.add(lane: 0, seconds: shared, after: [])
        }
        return (lanes.span - middle) / Double(layers)
    }
}
