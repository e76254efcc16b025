// SPDX-License-Identifier: MIT

import ArgumentParser
import CUDA
import DeepGEMM
import FlashMLA
import KernelDispatch
import Platform

/// Whether the GPU's results are right.
struct GPUTest: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "test",
        abstract: "Compare the GPU's results with the CPU's, on random operands and poisoned results.",
        discussion: """
            Every path of the kernels, edges in all extents, groups with padding, limits of multiprocessors; decoding \
            of short, long, empty and cut requests; two runs that must agree in every bit. A wait inside a kernel \
            that takes longer than two seconds is an error. Ends with status 70 where a check fails, 69 without a \
            Hopper GPU.

            EXAMPLES
              fathom gpu test
              fathom gpu test --only masked --seed 7 --json
            """)

    @Option(help: ArgumentHelp("Run only checks with this in their name.", valueName: "text"))
    var only: String?

    @Option(help: ArgumentHelp("Seed of the random operands.", valueName: "n"))
    var seed: UInt64 = 1

    @Option(help: ArgumentHelp("Threads of the CPU's products; every core where left out.", valueName: "n"))
    var threads: Int?

    @OptionGroup var output: OutputOptions

    /// How long a wait inside a kernel may take.
    private static let waitLimitNanoseconds = 2_000_000_000

    @OptionGroup var tracing: TraceOptions

    func run() throws {
        let library = try KernelLibrary(context: try DeviceContext())
        let device = try GemmDevice(library: library, waitLimitNanoseconds: Self.waitLimitNanoseconds)
        let compute = try ComputeContext(threadCount: max(1, threads ?? Machine.coreCount))
        var checks: [DeviceGemmCheck] = []
        for test in DeviceGemmCase.all where only.map({ test.name.contains($0) }) ?? true {
            let check = try test.run(on: device, checkedBy: compute, seed: seed)
            if !check.failures.isEmpty { StandardError.note("\(test.name): \(check.failures.joined(separator: "; "))") }
            checks.append(check)
        }
        let attention = try MLADevice(library: library, waitLimitNanoseconds: Self.waitLimitNanoseconds)
        var decodes: [DeviceDecodeCase.Check] = []
        for test in DeviceDecodeCase.all where only.map({ test.name.contains($0) }) ?? true {
            let check = try test.run(on: attention, seed: seed)
            if !check.failures.isEmpty { StandardError.note("\(test.name): \(check.failures.joined(separator: "; "))") }
            decodes.append(check)
        }
        for test in DeviceSparseCase.all where only.map({ test.name.contains($0) }) ?? true {
            let check = try test.run(on: attention, seed: seed)
            if !check.failures.isEmpty { StandardError.note("\(test.name): \(check.failures.joined(separator: "; "))") }
            decodes.append(check)
        }
        let report = GPUTestReport(
            device: library.context.device.name, checks: checks.map(GPUTestReport.Check.init),
            decodes: decodes.map(GPUTestReport.Decode.init))
        try Output.render(report, asJSON: output.json)
        if report.failed > 0 {
            throw FathomError(.internal, "\(report.failed) of \(report.count) checks failed on the GPU")
        }
    }
}

/// What the checks gave.
private struct GPUTestReport: Report {
    struct Check: Encodable {
        var name: String
        var m: Int
        var n: Int
        var k: Int
        var kernel: String
        var differenceToQuantized: Double
        var differenceToUnquantized: Double
        var failures: [String]

        init(_ check: DeviceGemmCheck) {
            name = check.test.name
            (m, n, k) = (check.test.shape.m, check.test.shape.n, check.test.shape.k)
            kernel = check.kernel
            differenceToQuantized = check.exactDifference
            differenceToUnquantized = check.difference
            failures = check.failures
        }
    }

    struct Decode: Encodable {
        var name: String
        var difference: Double
        var failures: [String]

        init(_ check: DeviceDecodeCase.Check) {
            name = check.name
            difference = check.difference
            failures = check.failures
        }
    }

    var device: String
    var checks: [Check]
    var decodes: [Decode]

    var count: Int { checks.count + decodes.count }
    var failed: Int { (checks.map(\.failures) + decodes.map(\.failures)).count { !$0.isEmpty } }

    var text: String {
        var table = Table([.left, .right, .right, .right, .left, .right, .left])
        table.add("check", "m", "n", "k", "kernel", "difference", "")
        for check in checks {
            table.add(
                check.name, "\(check.m)", "\(check.n)", "\(check.k)", check.kernel,
                Quantity.decimal(check.differenceToQuantized * 1e6, places: 2) + "e-6",
                check.failures.isEmpty ? "ok" : check.failures.joined(separator: "; "))
        }
        for decode in decodes {
            table.add(
                decode.name, "", "", "", "attention", Quantity.decimal(decode.difference * 1e6, places: 2) + "e-6",
                decode.failures.isEmpty ? "ok" : decode.failures.joined(separator: "; "))
        }
        return table.text + "\n\(device): \(count) checks, \(failed) failed"
    }
}
