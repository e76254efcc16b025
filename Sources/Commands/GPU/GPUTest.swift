// SPDX-License-Identifier: MIT

import ArgumentParser
import CUDA
import DeepGEMM
import KernelDispatch
import Platform

/// Whether the GPU's results are right.
struct GPUTest: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test",
        abstract: "Compare the GPU's products with the CPU's, on random operands and poisoned results.",
        discussion: """
            Every path of the kernels, edges in all extents, groups with padding, limits of multiprocessors, two runs \
            that must agree in every bit. A wait inside a kernel that takes longer than two seconds is an error. \
            Ends with status 70 where a check fails, 69 without a Hopper GPU.

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
        try Output.render(
            GPUTestReport(device: library.context.device.name, checks: checks.map(GPUTestReport.Check.init)),
            asJSON: output.json)
        let failed = checks.count { !$0.failures.isEmpty }
        if failed > 0 { throw FathomError(.internal, "\(failed) of \(checks.count) checks failed on the GPU") }
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

    var device: String
    var checks: [Check]

    var text: String {
        var table = Table([.left, .right, .right, .right, .left, .right, .left])
        table.add("check", "m", "n", "k", "kernel", "difference", "")
        for check in checks {
            table.add(
                check.name, "\(check.m)", "\(check.n)", "\(check.k)", check.kernel,
                Quantity.decimal(check.differenceToQuantized * 1e6, places: 2) + "e-6",
                check.failures.isEmpty ? "ok" : check.failures.joined(separator: "; "))
        }
        let failed = checks.count { !$0.failures.isEmpty }
        return table.text + "\n\(device): \(checks.count) checks, \(failed) failed"
    }
}
