// SPDX-License-Identifier: MIT

import CUDA
import Platform
import TestSupport
import Testing

@Suite(.enabled(if: Compilers.areThere))
struct RuntimeCompilerTests {
    @Test("a source with a header and a name expression becomes machine code", arguments: Compilers.all)
    func compiles(compiler: RuntimeCompiler) throws {
        let binary = try compiler.compile(SmallKernels.scale)
        #expect(Array(binary.cubin.prefix(4)) == [0x7F] + Array("ELF".utf8))
        #expect(binary.symbol("scale<2>").contains("scale"))
        #expect(binary.symbol("scale<2>") != "scale<2>")
        #expect(binary.symbol("plain") == "plain")
        #expect(binary.reports.count == 2, "\(binary.log)")
        for name in ["scale<2>", "plain"] {
            let report = try #require(binary.report(name), "\(binary.log)")
            #expect((4...64).contains(report.registers), "\(binary.log)")
            #expect(!report.usesLocalMemory)
        }
    }

    @Test("an error carries the compiler's log, with file and line", arguments: Compilers.all)
    func reportsErrors(compiler: RuntimeCompiler) {
        let source = KernelSource(name: "broken.cu", text: "\n__global__ void f() { undeclared = 1; }")
        expectFailure(.badData, naming: ["broken.cu(2)", "undeclared", compiler.identity, "sm_90a"]) {
            () throws(FathomError) in _ = try compiler.compile(source)
        }
    }

    @Test("an option that does not exist and an architecture that does not are named", arguments: Compilers.all)
    func reportsOptions(compiler: RuntimeCompiler) {
        var source = SmallKernels.scale
        source.options = ["--no-such-option"]
        expectFailure(.badData, naming: ["--no-such-option"]) { () throws(FathomError) in
            _ = try compiler.compile(source)
        }
        source.options = []
        source.architecture = "sm_1234"
        expectFailure(.badData, naming: ["sm_1234"]) { () throws(FathomError) in _ = try compiler.compile(source) }
    }

    @Test("a name expression that does not exist is named", arguments: Compilers.all)
    func reportsNames(compiler: RuntimeCompiler) {
        var source = SmallKernels.scale
        source.nameExpressions = ["missing<3>"]
        expectFailure(.badData, naming: ["missing"]) { () throws(FathomError) in _ = try compiler.compile(source) }
    }

    @Test("a run-time index into a register array shows as a stack frame", arguments: Compilers.all)
    func reportsLocalMemory(compiler: RuntimeCompiler) throws {
        let source = KernelSource(
            name: "local.cu",
            text: """
                extern "C" __global__ void local(int *values, int at) {
                    int all[64];
                    for (int i = 0; i < 64; i++) all[i] = values[i] * at;
                    for (int i = 0; i < at; i++) all[(i * at) & 63] += i;
                    values[0] = all[at & 63];
                }
                """)
        let report = try #require(try compiler.compile(source).report("local"))
        #expect(report.stackFrameBytes >= 256)
        #expect(report.usesLocalMemory)
    }

    @Test("a change of the register budget without a cap at entry is reported as ignored", arguments: Compilers.all)
    func reportsIgnoredBudget(compiler: RuntimeCompiler) throws {
        func source(_ bounds: String) -> KernelSource {
            KernelSource(
                name: "budget.cu",
                text: """
                    extern "C" __global__ void \(bounds) budget(float *values) {
                        if (threadIdx.x < 128) {
                            asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
                            values[threadIdx.x] = 1;
                        } else {
                            asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
                            values[threadIdx.x] = 2;
                        }
                    }
                    """)
        }
        let ignored = try compiler.compile(source(""))
        #expect(try #require(ignored.report("budget")).ignoresRegisterBudget, "\(ignored.log)")
        let taken = try compiler.compile(source("__launch_bounds__(384, 1)"))
        #expect(!(try #require(taken.report("budget")).ignoresRegisterBudget), "\(taken.log)")
    }

    @Test("the shared device header compiles", arguments: Compilers.all)
    func compilesDeviceHeader(compiler: RuntimeCompiler) throws {
        let source = KernelSource(
            name: "header.cu",
            text: """
                #include "hopper.cuh"
                extern "C" __global__ void f(uint64_t *value) { *value = sizeof(uint32_t); }
                """, headers: DeviceHeaders.all)
        #expect(try compiler.compile(source).report("f") != nil)
    }
}

@Suite struct CompilerSearchTests {
    @Test("a compiler that is nowhere is reported with where it was looked for and how to get it")
    func absent() {
        expectFailure(.unavailable, naming: ["/nowhere/libnvrtc.so.12", "pip install", "FATHOM_NVRTC"]) {
            () throws(FathomError) in _ = try RuntimeCompiler(candidates: ["/nowhere/libnvrtc.so.12"])
        }
    }

    @Test("a library without the compiler's functions is reported by file and function")
    func wrongLibrary() {
        expectFailure(.unavailable, naming: ["libm.so.6", "nvrtcVersion"]) { () throws(FathomError) in
            _ = try RuntimeCompiler(candidates: ["libm.so.6"])
        }
    }
}
