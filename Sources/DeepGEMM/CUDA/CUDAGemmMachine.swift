// SPDX-License-Identifier: MIT

/// What the cost model knows of a GPU. Clocks are those of its multiprocessors.
public struct CUDAGemmMachine: Sendable, Hashable {
    public var multiprocessors: Int
    public var clocksPerSecond: Double
    /// Products of FP8 that a multiprocessor adds in a clock; BF16 has half.
    public var float8ProductsPerClock: Double
    /// Bytes that one multiprocessor takes from the L2 cache in a clock, and all of them together.
    public var cacheBytesPerClock: Double
    public var sharedCacheBytesPerClock: Double
    /// Bytes per second from device memory.
    public var memoryBandwidth: Double
    /// From the start of a kernel until its first product, and from a tile's first copy until it has landed.
    public var startClocks: Double
    public var latencyClocks: Double
    /// The same while all multiprocessors copy.
    public var loadedLatencyClocks: Double

    /// An H200 by its data sheet (4.8 TB/s, 1979 dense FP8 and 989 BF16 TFLOPS); the rest are estimates.
    public static var h200: CUDAGemmMachine {
        CUDAGemmMachine(
            multiprocessors: 132, clocksPerSecond: 1.83e9, float8ProductsPerClock: 4096, cacheBytesPerClock: 64,
            sharedCacheBytesPerClock: 8e6 / 1.3e3, memoryBandwidth: 4.8e12, startClocks: 4000, latencyClocks: 1300,
            loadedLatencyClocks: 2000)
    }

    /// Bytes of shared memory that a multiprocessor reads in a clock.
    static var sharedMemoryBytesPerClock: Double { 128 }

    func productsPerClock(_ element: CUDAGemmConfiguration.Element) -> Double {
        element == .float8E4M3 ? float8ProductsPerClock : float8ProductsPerClock / 2
    }
}

/// A product whose kernel is to be chosen.
public struct CUDAGemmShape: Sendable, Hashable {
    /// Rows: all of them, or with `.masked` those that are expected in each group.
    public var m: Int
    public var n: Int
    public var k: Int
    public var element: CUDAGemmConfiguration.Element
    public var output: CUDAGemmConfiguration.Output
    public var grouping: CUDAGemmConfiguration.Grouping
    /// Matrices of B.
    public var groups: Int
    /// With `.ids`, what the first rows of groups are multiples of.
    public var alignment: Int

    public init(
        m: Int, n: Int, k: Int, element: CUDAGemmConfiguration.Element = .float8E4M3,
        output: CUDAGemmConfiguration.Output = .bfloat16, grouping: CUDAGemmConfiguration.Grouping = .none,
        groups: Int = 1, alignment: Int = 128
    ) {
        self.m = m
        self.n = n
        self.k = k
        self.element = element
        self.output = output
        self.grouping = grouping
        self.groups = groups
        self.alignment = alignment
    }

    /// Matrices of A that a launch multiplies.
    var slices: Int { grouping == .masked ? groups : 1 }
    public var floatingPointOperations: Double { 2 * Double(m) * Double(n) * Double(k) * Double(slices) }

    /// Bytes of operands, scales and result, each counted once, as DeepGEMM counts them.
    public var bytes: Double {
        guard m > 0, n > 0, slices > 0 else { return 0 }
        let (m, n, k) = (Double(m), Double(n), Double(k))
        let weights = grouping == .none ? 1 : Double(groups)
        let size = Double(element.byteCount)
        let scales = element == .float8E4M3 ? 4 * (k / 128) * (m * Double(slices) + n / 128 * weights) : 0
        return size * k * (m * Double(slices) + n * weights) + Double(output.byteCount) * m * n * Double(slices)
            + scales
    }

    /// Seconds that no kernel on `machine` can be below.
    public func floorSeconds(on machine: CUDAGemmMachine) -> Double {
        let rate =
            2 * machine.productsPerClock(element) * machine.clocksPerSecond * Double(machine.multiprocessors)
        return max(bytes / machine.memoryBandwidth, floatingPointOperations / rate)
    }
}
