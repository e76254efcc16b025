// SPDX-License-Identifier: MIT

import ArgumentParser
import EPLB
import Platform

/// Loads of GPUs before and after, drawn.
struct EPLBShow: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Draw each GPU's load before and after planning.",
        discussion: """
            Reads a line as `fathom eplb plan` does. Before is the field previous, or the experts in order. The layer \
            that was worst before is drawn where none is named; + marks the fullest GPU.

            EXAMPLES
              echo '{"weight": [[9, 1, 4, 2]], "replicas": 6, "gpus": 3}' | fathom eplb show --input -
              fathom eplb show --input loads.jsonl --line 3 --layer 12 --best
            """)

    @Option(help: ArgumentHelp("JSON lines; - is standard input.", valueName: "file"), completion: .file())
    var input: String

    @Option(help: ArgumentHelp("Which plan of the input, from 1 on; blank lines do not count.", valueName: "n"))
    var line = 1

    @Option(help: ArgumentHelp("Which layer, from 0 on; the worst one where left out.", valueName: "n"))
    var layer: Int?

    @OptionGroup(title: "Placement") var placement: PlacementOptions

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    func validate() throws {
        if line < 1 { throw ValidationError("--line is \(line); legal is 1 or more") }
        if let layer, layer < 0 { throw ValidationError("--layer is \(layer); legal is 0 or more") }
    }

    func run() throws {
        var count = 0
        var found: PlanLine?
        try PlanInput.lines(input) { next throws(FathomError) in
            count += 1
            if count == line { found = next }
        }
        guard let found else {
            throw FathomError(.badData, "\(input) has \(count) lines; --line \(line) is not among them")
        }
        let (before, after) = try PlanLine.inPlace(found.place) { () throws(FathomError) in
            let order = try ExpertPlacement.identity(
                layerCount: found.loads.layerCount, expertCount: found.loads.expertCount, shape: found.shape)
            let before = found.previous ?? order
            return (before, try rebalanceExperts(found.loads, on: found.shape, options: placement.options))
        }
        try before.check(extentsOf: found.loads, at: found.place)
        try Output.render(try LoadDrawing(found, before, after, layer: layer), asJSON: output.json)
    }
}

extension ExpertPlacement {
    fileprivate func check(extentsOf loads: ExpertLoads, at place: String) throws(FathomError) {
        guard layerCount == loads.layerCount else {
            throw FathomError(
                .badData, "\(place): previous: found \(layerCount) layers; legal are \(loads.layerCount), as in weight")
        }
    }
}

/// The loads of one layer, before and after.
private struct LoadDrawing: Report {
    struct State: Encodable {
        /// Of each GPU.
        var loads: [Double]
        var balancedness: Double
        var quality: PlacementQuality
    }

    var name: String?
    var layer: Int
    var layers: Int
    var policy: PlacementPolicy
    var nodeOfGPU: [Int]
    var before: State
    var after: State

    init(
        _ line: PlanLine, _ before: ExpertPlacement, _ after: ExpertPlacement, layer: Int?
    ) throws(FathomError) {
        let quality = try before.quality(under: line.loads)
        let chosen = layer ?? quality.worstLayer
        guard chosen < line.loads.layerCount else {
            throw FathomError(
                .usage, "--layer is \(chosen); \(line.place) has the layers 0…\(line.loads.layerCount - 1)")
        }
        name = line.name
        self.layer = chosen
        layers = line.loads.layerCount
        policy = after.policy
        nodeOfGPU = (0..<line.shape.rankCount).map { line.shape.node(ofRank: $0) }
        self.before = try Self.state(before, quality, line.loads, chosen)
        self.after = try Self.state(after, try after.quality(under: line.loads), line.loads, chosen)
    }

    private static func state(
        _ placement: ExpertPlacement, _ quality: PlacementQuality, _ loads: ExpertLoads, _ layer: Int
    ) throws(FathomError) -> State {
        let ranks = placement.shape.rankCount
        let largest = quality.largestLoads[layer]
        return State(
            loads: Array(try placement.rankLoads(under: loads)[layer * ranks..<(layer + 1) * ranks]),
            balancedness: largest > 0 ? quality.meanLoads[layer] / largest : 1, quality: quality)
    }

    // MARK: Text

    var text: String {
        let largest = max(before.loads.max() ?? 0, after.loads.max() ?? 0)
        let places = largest < 100 ? 2 : 0
        let numbers = (before.loads + after.loads).map { Quantity.decimal($0, places: places).count }.max() ?? 1
        let label = max(3, "\(before.loads.count - 1)".count)
        // A label, then twice two blanks, a bar, a blank, a number and a mark.
        let width = max(1, (Terminal.outputColumns - label - 2 * (numbers + 4)) / 2)
        var lines = [heading, ""]
        let room = width + numbers + 2
        lines.append(
            "gpu".padded(to: label, right: true) + "  " + "before".padded(to: room) + "  " + "after")
        for gpu in before.loads.indices {
            if gpu > 0, nodeOfGPU[gpu] != nodeOfGPU[gpu - 1] { lines.append("") }
            var line = "\(gpu)".padded(to: label, right: true)
            for state in [before, after] {
                line += "  " + bar(gpu, state, largest, width, numbers, places)
            }
            while line.last == " " { line.removeLast() }
            lines.append(line)
        }
        return (lines + ["", table]).joined(separator: "\n")
    }

    private var heading: String {
        (name.map { "\($0): " } ?? "") + "layer \(layer) of \(layers), \(before.loads.count) GPUs on "
            + "\((nodeOfGPU.last ?? 0) + 1) nodes, \(policy.rawValue) policy"
    }

    private func bar(
        _ gpu: Int, _ state: State, _ largest: Double, _ width: Int, _ numbers: Int, _ places: Int
    ) -> String {
        let load = state.loads[gpu]
        let isFullest = load > 0 && load == state.loads.max()
        let bar = Bar.text(largest > 0 ? load / largest : 0, width: width)
        let colored = isFullest && Terminal.outputHasColor ? "\u{1B}[31m\(bar)\u{1B}[0m" : bar
        return colored + " " + Quantity.decimal(load, places: places).padded(to: numbers, right: true)
            + (isFullest ? "+" : " ")
    }

    private var table: String {
        var table = Table([.left, .right, .right])
        table.add("", "before", "after")
        table.add("mean load / largest, this layer", percent(before.balancedness), percent(after.balancedness))
        table.add(
            "the same over all layers", percent(before.quality.balancedness), percent(after.quality.balancedness))
        table.add(
            "GPUs with an expert twice", "\(before.quality.crowdedRankCount)", "\(after.quality.crowdedRankCount)")
        table.add(
            "load with its expert on the node", percent(before.quality.nodeLocality),
            percent(after.quality.nodeLocality))
        return table.text
    }

    private func percent(_ fraction: Double) -> String { "\(Quantity.decimal(fraction * 100, places: 1)) %" }
}

extension String {
    fileprivate func padded(to width: Int, right: Bool = false) -> String {
        let blanks = String(repeating: " ", count: max(0, width - count))
        return right ? blanks + self : self + blanks
    }
}
