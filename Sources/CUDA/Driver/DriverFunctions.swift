// SPDX-License-Identifier: MIT
// SAFETY: In this file functions of the driver are given the C types that cuda.h declares for them.

import CFathom
import Platform

/// The functions of the CUDA driver that are used, with the signatures of cuda.h. Contexts, modules, functions,
/// streams, events and graphs are opaque pointers; an address on the device is 64 bits; a device is its number.
struct DriverFunctions: Sendable {
    typealias Code = Int32
    typealias Handle = OpaquePointer
    typealias Result<Value> = UnsafeMutablePointer<Value>

    let initialize: @Sendable @convention(c) (UInt32) -> Code
    let driverVersion: @Sendable @convention(c) (Result<Int32>) -> Code
    let errorName: @Sendable @convention(c) (Code, Result<UnsafePointer<CChar>?>) -> Code
    let errorString: @Sendable @convention(c) (Code, Result<UnsafePointer<CChar>?>) -> Code

    let deviceCount: @Sendable @convention(c) (Result<Int32>) -> Code
    let deviceName: @Sendable @convention(c) (Result<CChar>, Int32, Int32) -> Code
    let deviceAttribute: @Sendable @convention(c) (Result<Int32>, Int32, Int32) -> Code
    let deviceTotalMemory: @Sendable @convention(c) (Result<Int>, Int32) -> Code

    let retainPrimaryContext: @Sendable @convention(c) (Result<Handle?>, Int32) -> Code
    let releasePrimaryContext: @Sendable @convention(c) (Int32) -> Code
    let setCurrentContext: @Sendable @convention(c) (Handle?) -> Code

    let allocate: @Sendable @convention(c) (Result<UInt64>, Int) -> Code
    let free: @Sendable @convention(c) (UInt64) -> Code
    let memoryInfo: @Sendable @convention(c) (Result<Int>, Result<Int>) -> Code
    let allocateHost: @Sendable @convention(c) (Result<UnsafeMutableRawPointer?>, Int, UInt32) -> Code
    let freeHost: @Sendable @convention(c) (UnsafeMutableRawPointer) -> Code
    let copyToDevice: @Sendable @convention(c) (UInt64, UnsafeRawPointer, Int) -> Code
    let copyToHost: @Sendable @convention(c) (UnsafeMutableRawPointer, UInt64, Int) -> Code
    let copyToDeviceLater: @Sendable @convention(c) (UInt64, UnsafeRawPointer, Int, Handle) -> Code
    let copyToHostLater: @Sendable @convention(c) (UnsafeMutableRawPointer, UInt64, Int, Handle) -> Code
    let copyOnDeviceLater: @Sendable @convention(c) (UInt64, UInt64, Int, Handle) -> Code
    let setBytesLater: @Sendable @convention(c) (UInt64, UInt8, Int, Handle) -> Code
    let setWordsLater: @Sendable @convention(c) (UInt64, UInt32, Int, Handle) -> Code

    let createStream: @Sendable @convention(c) (Result<Handle?>, UInt32) -> Code
    let destroyStream: @Sendable @convention(c) (Handle) -> Code
    let queryStream: @Sendable @convention(c) (Handle) -> Code
    let streamWaitsForEvent: @Sendable @convention(c) (Handle, Handle, UInt32) -> Code
    let createEvent: @Sendable @convention(c) (Result<Handle?>, UInt32) -> Code
    let destroyEvent: @Sendable @convention(c) (Handle) -> Code
    let recordEvent: @Sendable @convention(c) (Handle, Handle) -> Code
    let queryEvent: @Sendable @convention(c) (Handle) -> Code
    let elapsedTime: @Sendable @convention(c) (Result<Float>, Handle, Handle) -> Code

    let beginCapture: @Sendable @convention(c) (Handle, Int32) -> Code
    let endCapture: @Sendable @convention(c) (Handle, Result<Handle?>) -> Code
    let instantiateGraph: @Sendable @convention(c) (Result<Handle?>, Handle, UInt64) -> Code
    let launchGraph: @Sendable @convention(c) (Handle, Handle) -> Code
    let destroyExecutableGraph: @Sendable @convention(c) (Handle) -> Code
    let destroyGraph: @Sendable @convention(c) (Handle) -> Code

    let loadModule: @Sendable @convention(c) (Result<Handle?>, UnsafeRawPointer) -> Code
    let unloadModule: @Sendable @convention(c) (Handle) -> Code
    let moduleFunction: @Sendable @convention(c) (Result<Handle?>, Handle, UnsafePointer<CChar>) -> Code
    let functionAttribute: @Sendable @convention(c) (Result<Int32>, Int32, Handle) -> Code
    let setFunctionAttribute: @Sendable @convention(c) (Handle, Int32, Int32) -> Code
    let launchKernel:
        @Sendable @convention(c) (
            UnsafePointer<fathom_cuda_launch_config>, Handle, UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
            UnsafeMutableRawPointer?
        ) -> Code
    let activeBlocks: @Sendable @convention(c) (Result<Int32>, Handle, Int32, Int) -> Code
    let activeClusters:
        @Sendable @convention(c) (Result<Int32>, Handle, UnsafePointer<fathom_cuda_launch_config>) -> Code
    let encodeTiledTensorMap:
        @Sendable @convention(c) (
            UnsafeMutableRawPointer, Int32, UInt32, UInt64, UnsafePointer<UInt64>, UnsafePointer<UInt64>,
            UnsafePointer<UInt32>, UnsafePointer<UInt32>, Int32, Int32, Int32, Int32
        ) -> Code
}

extension DriverFunctions {
    /// Looks every function up.
    ///
    /// - Throws: `unavailable`, naming the first that is missing.
    init(_ library: borrowing DynamicLibrary) throws(FathomError) {
        initialize = try library.function("cuInit")
        driverVersion = try library.function("cuDriverGetVersion")
        errorName = try library.function("cuGetErrorName")
        errorString = try library.function("cuGetErrorString")
        deviceCount = try library.function("cuDeviceGetCount")
        deviceName = try library.function("cuDeviceGetName")
        deviceAttribute = try library.function("cuDeviceGetAttribute")
        deviceTotalMemory = try library.function("cuDeviceTotalMem_v2")
        retainPrimaryContext = try library.function("cuDevicePrimaryCtxRetain")
        releasePrimaryContext = try library.function("cuDevicePrimaryCtxRelease_v2")
        setCurrentContext = try library.function("cuCtxSetCurrent")
        allocate = try library.function("cuMemAlloc_v2")
        free = try library.function("cuMemFree_v2")
        memoryInfo = try library.function("cuMemGetInfo_v2")
        allocateHost = try library.function("cuMemHostAlloc")
        freeHost = try library.function("cuMemFreeHost")
        copyToDevice = try library.function("cuMemcpyHtoD_v2")
        copyToHost = try library.function("cuMemcpyDtoH_v2")
        copyToDeviceLater = try library.function("cuMemcpyHtoDAsync_v2")
        copyToHostLater = try library.function("cuMemcpyDtoHAsync_v2")
        copyOnDeviceLater = try library.function("cuMemcpyDtoDAsync_v2")
        setBytesLater = try library.function("cuMemsetD8Async")
        setWordsLater = try library.function("cuMemsetD32Async")
        createStream = try library.function("cuStreamCreate")
        destroyStream = try library.function("cuStreamDestroy_v2")
        queryStream = try library.function("cuStreamQuery")
        streamWaitsForEvent = try library.function("cuStreamWaitEvent")
        createEvent = try library.function("cuEventCreate")
        destroyEvent = try library.function("cuEventDestroy_v2")
        recordEvent = try library.function("cuEventRecord")
        queryEvent = try library.function("cuEventQuery")
        elapsedTime = try library.function("cuEventElapsedTime")
        beginCapture = try library.function("cuStreamBeginCapture_v2")
        endCapture = try library.function("cuStreamEndCapture")
        instantiateGraph = try library.function("cuGraphInstantiateWithFlags")
        launchGraph = try library.function("cuGraphLaunch")
        destroyExecutableGraph = try library.function("cuGraphExecDestroy")
        destroyGraph = try library.function("cuGraphDestroy")
        loadModule = try library.function("cuModuleLoadData")
        unloadModule = try library.function("cuModuleUnload")
        moduleFunction = try library.function("cuModuleGetFunction")
        functionAttribute = try library.function("cuFuncGetAttribute")
        setFunctionAttribute = try library.function("cuFuncSetAttribute")
        launchKernel = try library.function("cuLaunchKernelEx")
        activeBlocks = try library.function("cuOccupancyMaxActiveBlocksPerMultiprocessor")
        activeClusters = try library.function("cuOccupancyMaxActiveClusters")
        encodeTiledTensorMap = try library.function("cuTensorMapEncodeTiled")
    }
}
