// SPDX-License-Identifier: MIT

import ArgumentParser

/// Commands about matrix products.
struct Gemm: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure matrix products and what is around them, and explain how one is cut.",
        discussion: """
            EXAMPLES
              fathom gemm bench
              fathom gemm bench --m 1,256 --shapes 4096x7168 --formats fp8
              fathom gemm layers --tokens 1,128
              fathom gemm mega-moe --tokens 128
              fathom gemm explain --m 256 --n 4096 --k 7168 --format-b fp8
            """,
        subcommands: [GemmBench.self, GemmLayers.self, GemmMegaMoE.self, GemmExplain.self])
}
