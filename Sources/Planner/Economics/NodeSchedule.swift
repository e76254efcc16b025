// SPDX-License-Identifier: MIT

/// How many nodes run at which time of a day: a step plot.
public struct NodeSchedule: Sendable, Codable, Equatable {
    /// From `start` on, `nodes` run.
    public struct Step: Sendable, Codable, Equatable {
        /// Seconds since the beginning of the day's window.
        public var start: Double
        public var nodes: Int

        public init(start: Double, nodes: Int) {
            (self.start, self.nodes) = (start, nodes)
        }
    }

    /// In order of time; the first begins at 0.
    public let steps: [Step]
    /// Length of the window in seconds.
    public let seconds: Double

    public init(steps: [Step], seconds: Double) {
        precondition(steps.first?.start == 0 && seconds > 0, "a schedule begins at 0 and lasts")
        (self.steps, self.seconds) = (steps, seconds)
    }

    /// Mean of the nodes over time.
    public var mean: Double { mean { Double($0) } }

    /// Mean over time of what each count of nodes counts as.
    public func mean(_ value: (Int) -> Double) -> Double {
        var sum = 0.0
        for (index, step) in steps.enumerated() {
            let end = index + 1 < steps.count ? steps[index + 1].start : seconds
            sum += value(step.nodes) * (end - step.start)
        }
        return sum / seconds
    }

    /// Nodes at a time.
    public func nodes(at time: Double) -> Int {
        steps.last { $0.start <= time }?.nodes ?? steps[0].nodes
    }
}

/// Units that a fleet is scaled in: a step is some prefill units and some decode units together.
public struct ScalingSteps: Sendable, Codable, Equatable {
    /// Nodes of one prefill unit and of one decode unit.
    public var prefillUnitNodes: Int
    public var decodeUnitNodes: Int
    /// Units of the smallest fleet.
    public var leastPrefillUnits: Int
    public var leastDecodeUnits: Int
    /// Units that each step adds.
    public var stepPrefillUnits: Int
    public var stepDecodeUnits: Int
    /// Steps of the largest fleet.
    public var maximumSteps: Int

    public init(
        prefillUnitNodes: Int, decodeUnitNodes: Int, leastPrefillUnits: Int, leastDecodeUnits: Int,
        stepPrefillUnits: Int, stepDecodeUnits: Int, maximumSteps: Int
    ) {
        self.prefillUnitNodes = prefillUnitNodes
        self.decodeUnitNodes = decodeUnitNodes
        self.leastPrefillUnits = leastPrefillUnits
        self.leastDecodeUnits = leastDecodeUnits
        self.stepPrefillUnits = stepPrefillUnits
        self.stepDecodeUnits = stepDecodeUnits
        self.maximumSteps = maximumSteps
    }

    /// Prefill units of the fleet with so many steps.
    public func prefillUnits(steps: Int) -> Int { leastPrefillUnits + steps * stepPrefillUnits }
    /// Decode units of the fleet with so many steps.
    public func decodeUnits(steps: Int) -> Int { leastDecodeUnits + steps * stepDecodeUnits }
    /// Nodes of the fleet with so many steps.
    public func nodes(steps: Int) -> Int {
        prefillUnits(steps: steps) * prefillUnitNodes + decodeUnits(steps: steps) * decodeUnitNodes
    }

    /// The steps of a fleet of so many nodes; nil where no fleet has as many.
    public func steps(nodes: Int) -> Int? { (0...maximumSteps).first { self.nodes(steps: $0) == nodes } }

    /// Decode nodes of a fleet of so many nodes, which must be one of the fleets.
    public func decodeNodes(of nodes: Int) -> Int {
        steps(nodes: nodes).map { decodeUnits(steps: $0) * decodeUnitNodes } ?? 0
    }
}
