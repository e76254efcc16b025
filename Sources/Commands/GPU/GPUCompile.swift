// SPDX-License-Identifier: MIT

import ArgumentParser
import CUDA
import Platform

/// Compiles a kernel through the cache, and says what the assembler thinks of it.
struct GPUCompile: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "compile",
        abstract: "Compile a CUDA C++ source, through the cache, and show registers and spills.",
        discussion: """
            Needs no GPU. The house's device headers, such as hopper.cuh, can be included.

            EXAMPLES
              fathom gpu compile kernel.cu
              fathom gpu compile kernel.cu --define BLOCK=128 --name 'scale<2>' --output kernel.cubin --json
            """)

    @Argument(help: ArgumentHelp("The source.", valueName: "file"))
    var source: String

    @Option(help: ArgumentHelp("A macro, NAME or NAME=VALUE; may be repeated.", valueName: "macro"))
    var define: [String] = []

    @Option(help: ArgumentHelp("A template instance to make; may be repeated.", valueName: "expression"))
    var name: [String] = []

    @Option(help: ArgumentHelp("The architecture of the machine code.", valueName: "name"))
    var architecture = "sm_90a"

    @Option(help: ArgumentHelp("Where to write the machine code.", valueName: "file"))
    var output: String?

    @OptionGroup var format: OutputOptions

    @OptionGroup var tracing: TraceOptions

    func run() throws {
        let text = String(decoding: try MappedFile.read(path: source), as: UTF8.self)
        let cache = try KernelCache.shared()
        let kernel = KernelSource(
            name: FilePaths.name(of: source), text: text, headers: DeviceHeaders.all,
            options: define.map { "-D\($0)" }, nameExpressions: name, architecture: architecture)
        let (binary, origin) = try cache.binaryAndOrigin(for: kernel)
        if let output { try AtomicFileWriter.write(binary.cubin, path: output) }
        let report = CompileReport(
            compiler: cache.compiler.identity, origin: origin.rawValue, bytes: binary.cubin.count,
            kernels: binary.reports.map(CompileReport.Kernel.init))
        try Output.render(report, asJSON: format.json)
    }
}

/// What `fathom gpu compile` made.
private struct CompileReport: Report {
    /// What the assembler says about one kernel.
    struct Kernel: Encodable {
        var symbol: String
        var registers: Int
        var stackFrameBytes: Int
        var spillStoreBytes: Int
        var spillLoadBytes: Int
        var staticSharedBytes: Int
        var ignoresRegisterBudget: Bool
        var serializesMatrixInstructions: Bool

        init(_ report: KernelReport) {
            symbol = report.symbol
            registers = report.registers
            stackFrameBytes = report.stackFrameBytes
            spillStoreBytes = report.spillStoreBytes
            spillLoadBytes = report.spillLoadBytes
            staticSharedBytes = report.staticSharedBytes
            ignoresRegisterBudget = report.ignoresRegisterBudget
            serializesMatrixInstructions = report.serializesMatrixInstructions
        }
    }

    var compiler: String
    /// `compiled`, or `disk` where the cache had it.
    var origin: String
    var bytes: Int
    var kernels: [Kernel]

    var text: String {
        var table = Table([.left, .right, .right, .right, .right, .left])
        table.add("kernel", "registers", "stack", "spills", "shared", "warnings")
        for kernel in kernels {
            let warnings =
                (kernel.ignoresRegisterBudget ? ["register budget ignored"] : [])
                + (kernel.serializesMatrixInstructions ? ["matrix instructions one by one"] : [])
            table.add(
                kernel.symbol, "\(kernel.registers)", "\(kernel.stackFrameBytes)",
                "\(kernel.spillStoreBytes + kernel.spillLoadBytes)", "\(kernel.staticSharedBytes)",
                warnings.joined(separator: ", "))
        }
        return table.text + "\n\(bytes) bytes of machine code, \(origin == "disk" ? "from the cache" : compiler)"
    }
}
