// SPDX-License-Identifier: MIT

import ArgumentParser

/// Commands about the GPU.
struct GPU: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gpu",
        abstract: "Say what the GPU offers, and compile kernels for it.",
        discussion: """
            EXAMPLES
              fathom gpu info
              fathom gpu compile kernel.cu --json
            """,
        subcommands: [GPUInfo.self, GPUCompile.self])
}
