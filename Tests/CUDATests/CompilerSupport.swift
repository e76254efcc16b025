// SPDX-License-Identifier: MIT

import CUDA
import Platform
import Testing

/// The compilers at hand, found once.
enum Compilers {
    /// Each version that can be loaded, at most once.
    static let all: [RuntimeCompiler] = {
        var found: [RuntimeCompiler] = []
        for candidate in RuntimeCompiler.candidates() {
            guard let compiler = try? RuntimeCompiler(candidates: [candidate]) else { continue }
            if !found.contains(where: { $0.identity == compiler.identity }) { found.append(compiler) }
        }
        if found.isEmpty { print("SKIPPED: tests that compile for the GPU, because no NVRTC is there") }
        return found
    }()

    static var areThere: Bool { !all.isEmpty }
}

/// Small kernels.
enum SmallKernels {
    static let scale = KernelSource(
        name: "scale.cu",
        text: """
            #include "factor.cuh"
            template <int n> __global__ void scale(float *values) { values[threadIdx.x] *= n * FACTOR; }
            extern "C" __global__ void plain(float *values) { values[0] = FACTOR; }
            """,
        headers: [.init(name: "factor.cuh", text: "#define FACTOR 3\n")],
        nameExpressions: ["scale<2>"])
}
