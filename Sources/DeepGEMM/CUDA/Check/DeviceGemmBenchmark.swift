// SPDX-License-Identifier: MIT
// SAFETY: In this file random bytes are written inside their buffer.

package import CUDA
public import Platform
internal import Tensors

/// One product timed on a GPU: events around each run, the cache flushed before it, the median.
public struct DeviceGemmBenchmark: Sendable {
    public var shape: CUDAGemmShape
    public var kernel: String
    public var seconds: Double
    public var predictedSeconds: Double
    public var teraflops: Double { shape.floatingPointOperations / seconds / 1e12 }
    public var gigabytesPerSecond: Double { shape.bytes / seconds / 1e9 }

    /// What the card itself does, measured in the same run.
    public struct Limits: Sendable {
        /// Bytes read and written per second by a copy on the device.
        public var copyGigabytesPerSecond: Double
        /// The tensor cores on random numbers that lie in shared memory already.
        public var float8Teraflops: Double
        public var bfloat16Teraflops: Double
    }

    /// Bytes that are overwritten before each run: several times the L2 cache.
    private static var flushBytes: Int { 256 << 20 }

    /// - Parameter repetitions: timed runs; the median counts.
    public static func measure(
        _ shape: CUDAGemmShape, repetitions: Int = 20, on device: GemmDevice
    ) throws(FathomError) -> DeviceGemmBenchmark {
        let context = device.library.context
        let size = shape.element.byteCount
        let slices = shape.slices
        let random = try randomBytes(element: shape.element)
        let a = try filled(slices * shape.m * shape.k * size, with: random, context)
        let b = try filled(shape.groups * shape.n * shape.k * size, with: random, context)
        let d = try DeviceMemory(byteCount: slices * shape.m * shape.n * shape.output.byteCount, context: context)
        let blocks = (shape.k + 127) / 128
        let strideA = DeviceScales.blockStride(rowBlocks: shape.m)
        let strideB = DeviceScales.blockStride(rowBlocks: (shape.n + 127) / 128)
        let ones = [Float](repeating: 1, count: blocks * max(slices * strideA, shape.groups * strideB))
        let scales = try DeviceMemory(ones, context: context)
        let rowNumbers =
            shape.grouping == .masked
            ? [Int32](repeating: Int32(shape.m), count: shape.groups)
            : (0..<shape.m).map { Int32($0 * shape.groups / max(1, shape.m)) }
        let rowMemory = try DeviceMemory(rowNumbers, context: context)
        let isScaled = shape.element == .float8E4M3
        let format: MatrixOperand.Format = isScaled ? .float8E4M3 : .bfloat16
        let left = DeviceOperand(
            a.address, format, rowCount: shape.m, columnCount: shape.k, groupCount: slices,
            scales: isScaled
                ? DeviceScales(scales.address, rows: 1, blockStride: strideA, groupStride: strideA * blocks) : nil)
        let right = DeviceOperand(
            b.address, format, rowCount: shape.n, columnCount: shape.k, groupCount: shape.groups,
            scales: isScaled
                ? DeviceScales(scales.address, rows: 128, blockStride: strideB, groupStride: strideB * blocks) : nil)
        let groups: DeviceGroupLayout? =
            switch shape.grouping {
            case .none: nil
            case .ids: .ids(rowMemory.address, alignment: shape.alignment)
            case .masked: .masked(rowMemory.address, expected: shape.m)
            }
        let result = DeviceResult(
            d.address, shape.output == .bfloat16 ? .bfloat16 : .float32, stride: shape.n,
            groupStride: shape.m * shape.n)
        let flush = try DeviceMemory(byteCount: flushBytes, context: context)
        let seconds = try median(repetitions, device, flush: flush) { () throws(FathomError) in
            try gemm(
                left, right, groups: groups, adding: shape.output == .accumulatingFloat32 ? result : nil,
                into: result, on: device)
        }
        let plan = device.plan(shape, multiprocessorLimit: nil)
        return DeviceGemmBenchmark(
            shape: shape, kernel: plan.configuration.summary, seconds: seconds, predictedSeconds: plan.cost.seconds)
    }

    /// The card's copy bandwidth: 1 GiB from one place to another, read and written.
    public static func limits(on device: GemmDevice) throws(FathomError) -> Limits {
        let context = device.library.context
        let bytes = 1 << 30
        let source = try DeviceMemory(byteCount: bytes, context: context)
        let target = try DeviceMemory(byteCount: bytes, context: context)
        try source.fill(1, on: device.stream)
        let flush = try DeviceMemory(byteCount: flushBytes, context: context)
        let seconds = try median(10, device, flush: flush) { () throws(FathomError) in
            try target.copy(from: source, byteCount: bytes, on: device.stream)
        }
        return Limits(
            copyGigabytesPerSecond: 2 * Double(bytes) / seconds / 1e9,
            float8Teraflops: try matrixTeraflops(.float8E4M3, on: device, flush: flush),
            bfloat16Teraflops: try matrixTeraflops(.bfloat16, on: device, flush: flush))
    }

    /// Runs `matrix_rate.cu` for some milliseconds on every multiprocessor.
    private static func matrixTeraflops(
        _ element: CUDAGemmConfiguration.Element, on device: GemmDevice, flush: borrowing DeviceMemory
    ) throws(FathomError) -> Double {
        let isByte = element == .float8E4M3
        let rounds = 20_000
        let blocks = device.library.context.device.limits.multiprocessorCount
        let kernel = try device.library.kernel("fathom_matrix_rate", of: matrixRateSource(element))
        let sink = try DeviceMemory(byteCount: 1024, context: device.library.context)
        let arguments: [KernelArgument] = [
            .uint32(UInt32(rounds)), .uint32(isByte ? 0xBFBF_BFBF : 0x81FF_81FF), .uint32(isByte ? 0 : 0x3E80_3E80),
            .memory(sink),
        ]
        let launch = LaunchConfiguration(
            grid: Dimensions(blocks), block: Dimensions(256), dynamicSharedBytes: 48 << 10)
        let seconds = try median(5, device, flush: flush) { () throws(FathomError) in
            try kernel.launch(launch, arguments, on: device.stream)
        }
        let operations = 2.0 * 64 * 256 * (isByte ? 32 : 16) * 4 * 2
        return operations * Double(rounds * blocks) / seconds / 1e12
    }

    /// The kernel behind `Limits`' rates.
    package static func matrixRateSource(_ element: CUDAGemmConfiguration.Element) -> KernelSource {
        let product = WarpgroupInstruction(
            name: "multiply", columns: 256, element: element == .float8E4M3 ? .float8E4M3 : .bfloat16)
        return KernelSource(
            name: "matrix_rate.cu", text: String(decoding: PackageResources.matrix_rate_cu, as: UTF8.self),
            headers: DeviceHeaders.all + [
                KernelSource.Header(
                    name: "multiply.cuh", text: "#pragma once\n#include \"hopper.cuh\"\n" + product.source)
            ])
    }

    private static func median(
        _ repetitions: Int, _ device: GemmDevice, flush: borrowing DeviceMemory, _ run: () throws(FathomError) -> Void
    ) throws(FathomError) -> Double {
        let context = device.library.context
        let start = try DeviceEvent(context: context)
        let end = try DeviceEvent(context: context)
        var times: [Double] = []
        for repetition in 0..<repetitions + 2 {
            try flush.fill(UInt8(repetition & 0xFF), on: device.stream)
            try start.record(on: device.stream)
            try run()
            try end.record(on: device.stream)
            try end.synchronize()
            // The first runs compile, load and warm up.
            if repetition >= 2 { times.append(try end.milliseconds(since: start) / 1000) }
        }
        return times.sorted()[times.count / 2]
    }

    /// 16 MiB of random finite numbers: power, and so the clock, depends on what is multiplied.
    private static func randomBytes(
        element: CUDAGemmConfiguration.Element
    ) throws(FathomError) -> AlignedBuffer<UInt16> {
        let buffer = try AlignedBuffer<UInt16>(count: 8 << 20, purpose: "random numbers")
        var state: UInt64 = 1
        for index in 0..<buffer.count {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let bits = UInt16(truncatingIfNeeded: state >> 40)
            // E4M3 without its not-a-number; BF16 between 1/4 and 4 with both signs.
            buffer.baseAddress[index] =
                element == .float8E4M3 ? bits & 0xBFBF : bits & 0x81FF | 0x3E80
        }
        return buffer
    }

    private static func filled(
        _ byteCount: Int, with random: AlignedBuffer<UInt16>, _ context: DeviceContext
    ) throws(FathomError) -> DeviceMemory {
        let memory = try DeviceMemory(byteCount: byteCount, context: context)
        var offset = 0
        while offset < byteCount {
            let count = min(byteCount - offset, random.count * 2)
            try memory.copy(
                from: UnsafeRawBufferPointer(start: random.baseAddress, count: count), atByte: offset)
            offset += count
        }
        return memory
    }
}
