// SPDX-License-Identifier: MIT

import ArgumentParser
import EPLB
import Platform

/// How fast plans are made, and how good they are.
struct EPLBBench: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure planning on one core: time, balance, locality, bytes moved.",
        discussion: """
            Loads are log-normal around 1000 tokens. original is the plan of the original, best keeps replicas apart \
            and exchanges them, migration changes a placement in force after loads drifted by 30 %, within 5 % of \
            the best plan. Balance is the mean load of a GPU divided by the largest. \
            Benchmarks/rivals/eplb.py measures the original on the same shapes.

            EXAMPLES
              fathom eplb bench
              fathom eplb bench --shapes 288x8x18x144 --layers 58 --deviation 1.2 --json
            """)

    @Option(help: ArgumentHelp("Layers.", valueName: "n"))
    var layers = 58

    @Option(help: ArgumentHelp("Logical experts of a layer.", valueName: "n"))
    var experts = 256

    @Option(
        help: ArgumentHelp("Replicas, groups, nodes and GPUs, as 288x8x18x144, separated by commas.", valueName: "list")
    )
    var shapes = "288x8x18x144,288x8x8x144,320x8x8x64,288x8x4x32"

    @Option(help: ArgumentHelp("Standard deviation of the loads' logarithm.", valueName: "x"))
    var deviation = 0.8

    @Option(help: ArgumentHelp("Seed of the loads.", valueName: "n"))
    var seed: UInt64 = 1

    @Flag(help: "One small run of each kind, to see that it works.")
    var smoke = false

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    func validate() throws {
        if shapeList == nil {
            throw ValidationError("--shapes is '\(shapes)'; RxGxNxU, such as 288x8x18x144, is legal")
        }
        if !(deviation.isFinite && 0...10 ~= deviation) {
            throw ValidationError("--deviation is \(deviation); 0…10 is legal")
        }
    }

    func run() throws {
        var results: [EPLBBenchmark] = []
        for shape in (shapeList ?? []).prefix(smoke ? 1 : .max) {
            for mode in EPLBBenchmark.Mode.allCases {
                results.append(
                    try EPLBBenchmark.measure(
                        mode, layers: smoke ? 2 : layers, experts: experts, shape: shape, deviation: deviation,
                        seed: seed, minimumSeconds: smoke ? 0 : 0.5))
            }
        }
        try Output.render(EPLBSpeed(results: results), asJSON: output.json)
    }

    private var shapeList: [PlacementShape]? {
        var list: [PlacementShape] = []
        for text in shapes.split(separator: ",", omittingEmptySubsequences: false) {
            let counts = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
            guard counts.count == 4, counts.allSatisfy({ $0 > 0 }) else { return nil }
            list.append(
                PlacementShape(
                    replicaCount: counts[0], groupCount: counts[1], nodeCount: counts[2], rankCount: counts[3]))
        }
        return list
    }
}

/// What was measured.
private struct EPLBSpeed: Report {
    var results: [EPLBBenchmark]

    var text: String {
        var table = Table([
            .left, .left, .right, .right, .right, .right, .right, .right, .right, .right, .right, .right, .right,
        ])
        table.add(
            "plan", "policy", "replicas", "nodes", "gpus", "ms", "ns/layer", "before", "balance", "local", "crowded",
            "moved", "from nothing")
        for result in results {
            table.add(
                result.mode.rawValue, result.policy.rawValue, "\(result.replicas)", "\(result.nodes)", "\(result.gpus)",
                Quantity.decimal(result.seconds * 1e3, places: 2),
                Quantity.decimal(result.nanosecondsPerLayer, places: 0), percent(result.balancednessBefore),
                percent(result.balancedness), percent(result.nodeLocality), "\(result.crowdedRanks)",
                result.bytesMoved.map { Quantity.bytes($0) } ?? "",
                result.bytesMovedFromNothing.map { Quantity.bytes($0) } ?? "")
        }
        let layers = results.first.map { "\($0.layers) layers of \($0.experts) experts, one core" } ?? ""
        return layers + "\n\n" + table.text
    }

    private func percent(_ fraction: Double) -> String { "\(Quantity.decimal(fraction * 100, places: 1)) %" }
}
