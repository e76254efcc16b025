// SPDX-License-Identifier: MIT

import CUDA
import Foundation
import Platform
import TestSupport
import Testing

@Suite("fathom gpu", .timeLimit(.minutes(5)))
struct GPUTests {
    private static let hasCompiler: Bool = {
        let found = (try? RuntimeCompiler()) != nil
        if !found { print("SKIPPED: tests that compile for the GPU, because no NVRTC is there") }
        return found
    }()

    @Test("without a driver, info shows what there is, says what to do, and ends with 69")
    func withoutDriver() async throws {
        let folder = try TemporaryFolder()
        let outcome = try await FathomProcess.run(
            ["gpu", "info", "--json"],
            environment: ["FATHOM_CUDA_DRIVER": "/nowhere/libcuda.so.1", "FATHOM_CACHE_DIR": folder.path])
        #expect(outcome.status == 69, "\(outcome)")
        #expect(outcome.errors.contains("/nowhere/libcuda.so.1"))
        #expect(outcome.errors.contains("NVIDIA's driver package"))
        let report = try outcome.object()
        #expect(report["driver"] == nil)
        let cache = try #require(report["cache"] as? [String: Any])
        #expect(cache["folder"] as? String == "\(folder.path)/kernels")
        #expect(cache["entries"] as? Int == 0)
    }

    @Test("with a driver, info shows each GPU's limits")
    func withDriver() async throws {
        let folder = try TemporaryFolder()
        let library = "\(folder.path)/libcuda.so.1"
        let source = "\(TestPaths.repository)/Tests/CUDATests/FakeDriver/FakeDriver.c"
        let build = try ToolRun("clang", ["-shared", "-fPIC", "-o", library, source])
        #expect(build.status == 0, "\(build.output)")
        let environment: [String: String?] = ["FATHOM_CUDA_DRIVER": library]
        let outcome = try await FathomProcess.run(["gpu", "info"], environment: environment)
        #expect(outcome.status == 0, "\(outcome)")
        for word in ["Fake H200", "CUDA 12.9", "132 multiprocessors", "9.0", "232448 bytes", "141.0 GiB", "4917 GB/s"] {
            #expect(outcome.output.contains(word), "\(outcome.output) lacks \(word)")
        }
        let doctor = try await FathomProcess.run(["doctor"], environment: environment)
        #expect(doctor.output.contains("CUDA 12.9, Fake H200"), "\(doctor.output)")
    }

    @Test(
        "a kernel is compiled once, by two processes at once too, and its figures are shown", .enabled(if: hasCompiler))
    func compile() async throws {
        let folder = try TemporaryFolder()
        let source = "\(folder.path)/k.cu"
        try AtomicFileWriter.write(
            """
            #include "hopper.cuh"
            template <int n> __global__ void k(float *a) { a[threadIdx.x] *= n + EXTRA; }
            """, path: source)
        let arguments = ["gpu", "compile", source, "--define", "EXTRA=4", "--name", "k<3>", "--json"]
        let environment: [String: String?] = ["FATHOM_CACHE_DIR": folder.path]
        async let one = FathomProcess.run(arguments, environment: environment)
        async let two = FathomProcess.run(arguments, environment: environment)
        for outcome in [try await one, try await two] {
            #expect(outcome.status == 0, "\(outcome)")
            let kernels = try #require(try outcome.object()["kernels"] as? [[String: Any]])
            #expect(kernels.count == 1)
            #expect((kernels.first?["registers"] as? Int ?? 0) > 0)
        }
        #expect(try FilePaths.list("\(folder.path)/kernels").count == 1)
        let output = "\(folder.path)/k.cubin"
        let again = try await FathomProcess.run(arguments + ["--output", output], environment: environment)
        #expect(try again.object()["origin"] as? String == "disk")
        #expect(try FilePaths.byteCount(output) == again.object()["bytes"] as? Int)
    }

    @Test("a source that is wrong or missing is named with its error", .enabled(if: hasCompiler))
    func compileErrors() async throws {
        let folder = try TemporaryFolder()
        let source = "\(folder.path)/bad.cu"
        try AtomicFileWriter.write("__global__ void k() { nonsense; }", path: source)
        let environment: [String: String?] = ["FATHOM_CACHE_DIR": folder.path]
        let wrong = try await FathomProcess.run(["gpu", "compile", source], environment: environment)
        #expect(wrong.status == 65, "\(wrong)")
        #expect(wrong.errors.contains("bad.cu(1)") && wrong.errors.contains("nonsense"))
        let missing = try await FathomProcess.run(["gpu", "compile", "\(folder.path)/none.cu"])
        #expect(missing.status == 66)
        #expect(missing.errors.contains("none.cu"))
    }
}
