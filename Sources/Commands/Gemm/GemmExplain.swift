// SPDX-License-Identifier: MIT

import ArgumentParser
import DeepGEMM
import KernelDispatch
import Platform

/// How a product would be cut, and why.
struct GemmExplain: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Show how a product D = A·Bᵀ is cut into tasks and blocks, and why.",
        discussion: """
            A is [m, k], B is [n, k]. The numbers are those that the product itself uses; none of them changes \
            a bit of its result.

            EXAMPLES
              fathom gemm explain --m 1 --n 7168 --k 2048 --format-b fp8
              fathom gemm explain --m 64 --n 4096 --k 7168 --groups 32 --format-a fp8 --format-b fp4 --json
            """)

    @Option(help: ArgumentHelp("Rows of A, of each group.", valueName: "n"))
    var m: Int

    @Option(help: ArgumentHelp("Rows of B: outputs.", valueName: "n"))
    var n: Int

    @Option(help: ArgumentHelp("The summed dimension.", valueName: "n"))
    var k: Int

    @Option(help: ArgumentHelp("Groups of m rows, each with a matrix of its own.", valueName: "n"))
    var groups = 1

    @Option(help: ArgumentHelp("Format of A: \(GemmFormat.names).", valueName: "name"))
    var formatA = GemmFormat(.float32)

    @Option(help: ArgumentHelp("Format of B: \(GemmFormat.names).", valueName: "name"))
    var formatB = GemmFormat(.float8E4M3)

    @Flag(help: "B lies with its rows as neighbours instead of K.")
    var mnMajor = false

    @Flag(help: "B holds gate and up; D is SiLU(gate)·up.")
    var gate = false

    @Option(help: ArgumentHelp("Threads that compute; every core where left out.", valueName: "n"))
    var threads: Int?

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    func run() throws {
        let plan = try GemmPlan(
            m: m, n: n, k: k, groups: groups, formatA: formatA.format, formatB: formatB.format,
            orderB: mnMajor ? .mnMajor : .kMajor, gate: gate, threads: threads ?? Machine.coreCount)
        try Output.render(PlanReport(plan: plan), asJSON: output.json)
    }
}

/// A format of an operand, as the command line names it.
struct GemmFormat: ExpressibleByArgument {
    var format: MatrixOperand.Format

    static let names = MatrixOperand.Format.allCases.map(\.rawValue).joined(separator: ", ")
    static let allValueStrings = MatrixOperand.Format.allCases.map(\.rawValue)

    init(_ format: MatrixOperand.Format) {
        self.format = format
    }

    init?(argument: String) {
        guard let format = MatrixOperand.Format(rawValue: argument) else { return nil }
        self.format = format
    }

    var defaultValueDescription: String { format.rawValue }
}

/// The plan, as the JSON object it is.
private struct PlanReport: Report {
    var plan: GemmPlan

    var text: String { plan.description }

    func encode(to encoder: any Encoder) throws {
        try plan.encode(to: encoder)
    }
}
