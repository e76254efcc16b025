// SPDX-License-Identifier: MIT

import ArgumentParser
import DeepGEMM
import Platform

/// Which kernel a GPU operation would run, and why.
struct GPUExplain: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Show which kernel an operation runs on a Hopper GPU, and what it is predicted to take.",
        discussion: """
            Needs no GPU.

            EXAMPLES
              fathom gpu explain gemm --m 4096 --n 7168 --k 16384
            """,
        subcommands: [GPUExplainGemm.self])
}

/// The kernel of a matrix product.
struct GPUExplainGemm: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "gemm",
        abstract: "Show the tile, pipeline and predicted time of a product D = A·Bᵀ on a Hopper GPU.",
        discussion: """
            A is [m, k], B is [n, k]. The prediction is a model's, from an H200's data sheet; nothing is measured.

            EXAMPLES
              fathom gpu explain gemm --m 4096 --n 7168 --k 16384
              fathom gpu explain gemm --m 1 --n 576 --k 7168 --format bf16 --result f32 --json
              fathom gpu explain gemm --m 256 --n 7168 --k 2048 --groups 4 --grouping masked
            """)

    @Option(help: ArgumentHelp("Rows of A; of each group where they are masked.", valueName: "n"))
    var m: Int

    @Option(help: ArgumentHelp("Rows of B: outputs.", valueName: "n"))
    var n: Int

    @Option(help: ArgumentHelp("The summed dimension.", valueName: "n"))
    var k: Int

    @Option(help: ArgumentHelp("Format of A and B: fp8, bf16.", valueName: "name"))
    var format = "fp8"

    @Option(help: ArgumentHelp("Format of D: bf16, f32, or f32+= to add to it.", valueName: "name"))
    var result = "bf16"

    @Option(help: ArgumentHelp("Matrices of B.", valueName: "n"))
    var groups = 1

    @Option(help: ArgumentHelp("How rows belong to them: none, ids, masked.", valueName: "name"))
    var grouping = "none"

    @Option(help: ArgumentHelp("Most multiprocessors to use; all where left out.", valueName: "n"))
    var multiprocessors: Int?

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    func validate() throws {
        for (name, value) in [("--m", m), ("--n", n), ("--k", k), ("--groups", groups)] {
            guard (1...1 << 30).contains(value) else {
                throw ValidationError("\(name) is \(value); 1…\(1 << 30) is legal")
            }
        }
        if CUDAGemmConfiguration.Element(rawValue: format) == nil {
            throw ValidationError("--format is '\(format)'; fp8 and bf16 are legal")
        }
        if CUDAGemmConfiguration.Output(rawValue: result) == nil {
            throw ValidationError("--result is '\(result)'; bf16, f32 and f32+= are legal")
        }
        if Self.groupings[grouping] == nil {
            throw ValidationError("--grouping is '\(grouping)'; none, ids and masked are legal")
        }
        if grouping == "none", groups != 1 {
            throw ValidationError("--groups is \(groups) without --grouping ids or masked")
        }
        if multiprocessors ?? 1 < 1 { throw ValidationError("--multiprocessors is 1 or more") }
    }

    func run() throws {
        let shape = CUDAGemmShape(
            m: m, n: n, k: k, element: CUDAGemmConfiguration.Element(rawValue: format) ?? .float8E4M3,
            output: CUDAGemmConfiguration.Output(rawValue: result) ?? .bfloat16,
            grouping: Self.groupings[grouping] ?? .none, groups: groups)
        let plan = CUDAGemmPlan(shape, multiprocessorLimit: multiprocessors)
        try Output.render(CUDAPlanReport(plan), asJSON: output.json)
    }

    private static let groupings: [String: CUDAGemmConfiguration.Grouping] = [
        "none": .none, "ids": .ids, "masked": .masked,
    ]
}

/// A plan for a GPU as data.
private struct CUDAPlanReport: Report {
    var blockRows: Int
    var blockColumns: Int
    var blockDepth: Int
    var stages: Int
    var cluster: Int
    /// The operand that a cluster's blocks share; absent without clusters.
    var shared: String?
    var splits: Int
    var rasterWidth: Int
    var sharedBytes: Int
    var threads: Int
    var blocks: Int
    var units: Int
    var waves: Int
    var productClocks: Double
    var sharedMemoryClocks: Double
    var copyClocks: Double
    var predictedMicroseconds: Double
    var floorMicroseconds: Double
    var predictedTeraflops: Double

    init(_ plan: CUDAGemmPlan) {
        let c = plan.configuration
        (blockRows, blockColumns, blockDepth) = (c.blockRows, c.blockColumns, c.blockDepth)
        (stages, cluster, splits) = (c.stages, c.cluster, c.splits)
        shared = c.cluster > 1 ? (c.sharesA ? "A" : "B") : nil
        (rasterWidth, sharedBytes, threads) = (c.rasterWidth, c.sharedBytes, c.threadCount)
        (blocks, units, waves) = (plan.gridCount, plan.cost.units, plan.cost.waves)
        (productClocks, sharedMemoryClocks) = (plan.cost.productClocks, plan.cost.sharedClocks)
        copyClocks = plan.cost.copyClocks
        predictedMicroseconds = plan.cost.seconds * 1e6
        floorMicroseconds = plan.shape.floorSeconds(on: .h200) * 1e6
        predictedTeraflops = plan.shape.floatingPointOperations / plan.cost.seconds / 1e12
    }

    var text: String {
        func clocks(_ value: Double) -> String { Quantity.decimal(value, places: 0) }
        var table = Table([.left, .left])
        table.add("tile", "\(blockRows)×\(blockColumns), K in steps of \(blockDepth)")
        table.add("pipeline", "\(stages) stages, \(sharedBytes) bytes of shared memory, \(threads) threads")
        table.add("cluster", shared.map { "pairs of blocks share \($0)" } ?? "none")
        table.add("splits of K", "\(splits)")
        table.add("launch", "\(blocks) blocks, \(units) units of work in \(waves) waves, stripes of \(rasterWidth)")
        table.add(
            "clocks of a step",
            "\(clocks(productClocks)) products, \(clocks(sharedMemoryClocks)) shared memory, "
                + "\(clocks(copyClocks)) copies")
        table.add(
            "predicted",
            "\(Quantity.decimal(predictedMicroseconds, places: 1)) µs, "
                + "\(Quantity.decimal(predictedTeraflops, places: 0)) TFLOPS (a model, not measured)")
        table.add("floor", "\(Quantity.decimal(floorMicroseconds, places: 1)) µs by the data sheet")
        return table.text
    }
}
