// SPDX-License-Identifier: MIT

import ArgumentParser

/// Commands about the GPU.
struct GPU: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gpu",
        abstract: "Say what the GPU offers, compile kernels for it, test and measure them.",
        discussion: """
            EXAMPLES
              fathom gpu info
              fathom gpu compile kernel.cu --json
              fathom gpu explain gemm --m 4096 --n 7168 --k 16384
              fathom gpu test
            """,
        subcommands: [GPUInfo.self, GPUCompile.self, GPUExplain.self, GPUTest.self, GPUBench.self])
}
