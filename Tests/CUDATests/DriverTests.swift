// SPDX-License-Identifier: MIT

import CUDA
import Platform
import TestSupport
import Testing

@Suite struct DriverTests {
    @Test("a driver that is nowhere is one error that says where it was looked for and how to get it")
    func absent() {
        expectFailure(
            .unavailable, naming: ["CUDA driver", "/nowhere/libcuda.so.1", "--gpus all", "FATHOM_CUDA_DRIVER"]
        ) {
            () throws(FathomError) in _ = try CUDADriver(candidates: ["/nowhere/libcuda.so.1"])
        }
    }

    @Test("a library that is no driver is reported by file and function")
    func wrongLibrary() {
        expectFailure(.unavailable, naming: ["libm.so.6", "cuInit"]) { () throws(FathomError) in
            _ = try CUDADriver(candidates: ["libm.so.6"])
        }
    }

    @Test("a device's limits come from its attributes")
    func limits() throws {
        let fake = try FakeDriver()
        #expect(fake.driver.version == (12, 9))
        let device = try CUDADevice(0, driver: fake.driver)
        #expect(device.name == "Fake H200")
        #expect(device.totalMemory == 141 << 30)
        #expect(device.limits.computeCapability == .init(major: 9, minor: 0))
        #expect(device.limits.multiprocessorCount == 132)
        #expect(device.limits.maximumSharedBytes == 232_448)
        #expect(device.limits.l2CacheBytes == 60 << 20)
        #expect(device.limits.nominalMemoryBandwidth == 2 * 3_201_000_000 * 768)
        #expect(try device.attribute(.maximumPersistingL2Bytes) == 41 << 20)
        try device.requireHopper()
    }

    @Test("a device number that does not exist is refused with what is legal")
    func ordinal() throws {
        let fake = try FakeDriver()
        expectFailure(.unavailable, naming: ["number 1", "0...0"]) { () throws(FathomError) in
            _ = try CUDADevice(1, driver: fake.driver)
        }
        fake.setDeviceCount(0)
        #expect(try fake.driver.deviceCount() == 0)
        expectFailure(.unavailable, naming: ["sees no GPU", "CUDA_VISIBLE_DEVICES"]) { () throws(FathomError) in
            _ = try CUDADevice(0, driver: fake.driver)
        }
    }

    @Test("a failed call is named with its arguments, the driver's name and text")
    func failure() throws {
        let fake = try FakeDriver()
        let context = try fake.context()
        fake.fail("cuMemAlloc_v2", with: 2)
        expectFailure(
            .unavailable, naming: ["cuMemAlloc(4096 bytes)", "CUDA_ERROR_OUT_OF_MEMORY (2)", "out of memory"]
        ) { () throws(FathomError) in _ = try DeviceMemory(byteCount: 4096, context: context) }
        fake.fail("cuStreamCreate", with: 1)
        expectFailure(.internal, naming: ["cuStreamCreate", "CUDA_ERROR_INVALID_VALUE", "invalid argument"]) {
            () throws(FathomError) in _ = try DeviceStream(context: context)
        }
        // A code that the driver itself does not know.
        fake.fail("cuStreamCreate", with: 4711)
        expectFailure(.internal, naming: ["cuStreamCreate", "code 4711"]) { () throws(FathomError) in
            _ = try DeviceStream(context: context)
        }
    }

    @Test("a context goes after everything that was made in it, whatever the order in which values die")
    func releaseOrder() throws {
        let fake = try FakeDriver()
        do {
            var context: DeviceContext? = try fake.context()
            let memory = try DeviceMemory(byteCount: 16, context: try #require(context))
            let stream = try DeviceStream(context: memory.context)
            let pinned = try PinnedMemory(byteCount: 16, context: memory.context)
            let event = try DeviceEvent(context: memory.context)
            let kernel = try DeviceModule(.elf, context: memory.context).kernel("f")
            context = nil
            fake.clear()
            try event.record(on: stream)
            try memory.fill(0, on: stream)
            pinned.withBytes { #expect($0.count == 16) }
            #expect(kernel.name == "f")
        }
        let names = fake.calls.map { String($0.prefix { $0 != "(" }) }
        #expect(names.last == "cuDevicePrimaryCtxRelease_v2", "\(names)")
        #expect(
            Set(names.dropFirst(2).dropLast()) == [
                "cuMemFree_v2", "cuMemFreeHost", "cuStreamDestroy_v2", "cuEventDestroy_v2", "cuModuleUnload",
            ])
        #expect(names.count == 8, "\(names)")
    }

    @Test("what was made before a failure is given back")
    func releaseAfterFailure() throws {
        let fake = try FakeDriver()
        let context = try fake.context()
        fake.fail("cuMemcpyHtoD_v2", with: 700)
        expectFailure(.internal, naming: ["cuMemcpyHtoD(12 bytes)", "ILLEGAL_ADDRESS"]) { () throws(FathomError) in
            _ = try DeviceMemory([1, 2, 3] as [Float], context: context)
        }
        #expect(fake.calls.last == "cuMemFree_v2()")
    }
}

extension KernelBinary {
    /// Machine code for the fake driver, which looks at its first bytes only.
    static let elf = KernelBinary(cubin: [0x7F] + Array("ELF".utf8), symbols: ["f<1>": "_Z1fILi1EEvv"], log: "")
}
