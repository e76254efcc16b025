// SPDX-License-Identifier: MIT

import ArgumentParser
import EPLB
import Platform

/// Loads in, placements out.
struct EPLBPlan: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Plan which experts get replicas and where they go; JSON lines in and out.",
        discussion: """
            A line has weight [layers][experts], replicas and gpus; groups and nodes are 1 where left out. The plan \
            has the line's fields and phy2log [layers][replicas], log2phy [layers][experts][copies] (-1 where there \
            is none), logcnt [layers][experts], the policy and the quality. Without options it is that of the \
            original.

            With --migrate a plan starts from the field previous (a phy2log), or from the plan of the line before, \
            and moves few weights. With --window N a line's plan is for loads predicted from the last N lines.

            EXAMPLES
              echo '{"weight": [[9, 1, 4, 2]], "replicas": 6, "gpus": 3}' | fathom eplb plan --input -
              fathom eplb plan --input loads.jsonl --best --migrate --slack 0.05 --window 8 --predict trend
            """)

    @Option(help: ArgumentHelp("JSON lines; - is standard input.", valueName: "file"), completion: .file())
    var input: String

    @OptionGroup(title: "Placement") var placement: PlacementOptions

    @Flag(help: "Change the placement in force instead of planning from nothing.")
    var migrate = false

    @Option(
        help: ArgumentHelp(
            "Part by which the fullest GPU may have more to do than in a new plan, to save moving.",
            valueName: "fraction"))
    var slack = 0.05

    @Option(help: ArgumentHelp("Weights of an expert of a layer, in bytes.", valueName: "bytes"))
    var bytesPerExpert = MigrationTerms.deepSeekV3BytesPerExpert

    @Option(help: ArgumentHelp("Bytes that a plan may move; no limit where left out.", valueName: "bytes"))
    var maximumBytes: Int?

    @Option(help: ArgumentHelp("Lines whose loads are looked at together.", valueName: "n"))
    var window = 1

    @Option(help: ArgumentHelp("How loads are predicted from the window.", valueName: "mean|fading|trend"))
    var predict = PredictionName.mean

    @Option(help: ArgumentHelp("Weight of a line beside the next newer one, for fading.", valueName: "0…1"))
    var retention = 0.8

    @Option(help: ArgumentHelp("Standard deviations of the window added to each load.", valueName: "x"))
    var deviations = 0.0

    func run() throws {
        let terms = MigrationTerms(bytesPerExpert: bytesPerExpert, slack: slack, maximumBytes: maximumBytes)
        var window = try LoadWindow(capacity: window)
        var inForce: ExpertPlacement?
        let prediction = prediction
        try PlanInput.lines(input) { line throws(FathomError) in
            let (previous, plan) = try PlanLine.inPlace(line.place) { () throws(FathomError) in
                if window.capacity == 1 { window = try LoadWindow(capacity: 1) }
                try window.observe(line.loads)
                let loads = try window.predicted(by: prediction, deviations: deviations)
                let previous = line.previous ?? (migrate ? inForce : nil)
                guard migrate, let previous else {
                    return (previous, try rebalanceExperts(loads, on: line.shape, options: placement.options))
                }
                let plan = try rebalanceExperts(
                    loads, from: previous, groupCount: line.shape.groupCount, terms: terms, options: placement.options)
                if plan.placement.shape != line.shape { try Self.sameShape(plan.placement.shape, line.shape) }
                return (previous, plan.placement)
            }
            inForce = plan
            try Output.renderLine(try PlannedLine(line, plan, previous: previous, bytesPerExpert: bytesPerExpert))
        }
    }

    private static func sameShape(_ found: PlacementShape, _ wanted: PlacementShape) throws(FathomError) {
        throw FathomError(
            .badData,
            "replicas, nodes and gpus: found \(wanted.replicaCount), \(wanted.nodeCount) and \(wanted.rankCount); "
                + "legal with --migrate are those of the placement in force, "
                + "\(found.replicaCount), \(found.nodeCount) and \(found.rankCount)")
    }

    @OptionGroup var tracing: TraceOptions

    func validate() throws {
        guard slack.isFinite, slack >= 0 else { throw ValidationError("--slack is \(slack); legal is 0 or more") }
        guard 0...1 ~= retention else { throw ValidationError("--retention is \(retention); legal is 0 to 1") }
        guard deviations.isFinite, deviations >= 0 else {
            throw ValidationError("--deviations is \(deviations); legal is 0 or more")
        }
        guard 1...1 << 48 ~= bytesPerExpert else {
            throw ValidationError("--bytes-per-expert is \(bytesPerExpert); legal is 1…2^48")
        }
        guard maximumBytes ?? 0 >= 0 else {
            throw ValidationError("--maximum-bytes is \(maximumBytes ?? 0); legal is 0 or more")
        }
        guard 1...LoadWindow.maximumCapacity ~= window else {
            throw ValidationError("--window is \(window); legal is 1…\(LoadWindow.maximumCapacity)")
        }
    }

    private var prediction: LoadPrediction {
        switch predict {
        case .mean: .mean
        case .fading: .fading(retention: retention)
        case .trend: .trend
        }
    }

    /// Predictions as the command line names them.
    enum PredictionName: String, ExpressibleByArgument, CaseIterable {
        case mean, fading, trend
    }
}

/// A line with its plan.
private struct PlannedLine: Encodable {
    var name: String?
    var weight: [[Float]]
    var replicas: Int
    var groups: Int
    var nodes: Int
    var gpus: Int
    var phy2log: [[Int32]]
    var log2phy: [[[Int32]]]
    var logcnt: [[Int32]]
    var policy: PlacementPolicy
    /// Under the line's own loads.
    var quality: PlacementQuality
    /// That of the placement in force, where there is one; and what moves.
    var previousQuality: PlacementQuality?
    var migration: MigrationCost?

    init(
        _ line: PlanLine, _ plan: ExpertPlacement, previous: ExpertPlacement?, bytesPerExpert: Int
    ) throws(FathomError) {
        let (layers, experts) = (line.loads.layerCount, line.loads.expertCount)
        name = line.name
        weight = (0..<layers).map { Array(line.loads.layer($0)) }
        (replicas, groups) = (line.shape.replicaCount, line.shape.groupCount)
        (nodes, gpus) = (line.shape.nodeCount, line.shape.rankCount)
        phy2log = (0..<layers).map { Array(plan.experts(inLayer: $0)) }
        let (width, slots) = plan.logicalToPhysical
        log2phy = (0..<layers).map { layer in
            (0..<experts).map { expert in
                let start = (layer * experts + expert) * width
                return Array(slots[start..<start + width])
            }
        }
        let counts = plan.replicaCounts
        logcnt = (0..<layers).map { Array(counts[$0 * experts..<($0 + 1) * experts]) }
        policy = plan.policy
        quality = try plan.quality(under: line.loads)
        previousQuality = try previous?.quality(under: line.loads)
        migration = try previous.map { previous throws(FathomError) in
            try plan.migration(from: previous, bytesPerExpert: bytesPerExpert)
        }
    }
}
