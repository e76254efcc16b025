// SPDX-License-Identifier: MIT
// SAFETY: In this file the driver writes into variables of this thread that live during the call.

public import Platform

/// One GPU and its limits. A plain value: asking costs nothing and holds nothing.
public struct CUDADevice: Sendable {
    public let driver: CUDADriver
    /// The driver's number of the device; `CUDA_VISIBLE_DEVICES` renumbers.
    public let ordinal: Int
    /// The name, such as `NVIDIA H200`.
    public let name: String
    /// Memory in bytes.
    public let totalMemory: Int
    public let limits: Limits

    /// What the driver says about a device, in its own units made plain.
    public struct Limits: Sendable, Equatable {
        public var computeCapability: ComputeCapability
        public var multiprocessorCount: Int
        /// Threads of one block.
        public var maximumBlockThreads: Int
        public var maximumThreadsPerMultiprocessor: Int
        public var registersPerMultiprocessor: Int
        public var sharedBytesPerMultiprocessor: Int
        /// Dynamic and static shared memory that one block may have, in bytes, when its kernel asks for it.
        public var maximumSharedBytes: Int
        public var l2CacheBytes: Int
        public var multiprocessorClockKilohertz: Int
        public var memoryClockKilohertz: Int
        public var memoryBusBits: Int
        public var supportsClusters: Bool
        public var supportsTensorMaps: Bool

        /// Bytes per second that the memory's clock and width allow, two transfers a clock; 0 where the driver does not
        /// tell.
        public var nominalMemoryBandwidth: Double {
            2 * Double(memoryClockKilohertz) * 1000 * Double(memoryBusBits) / 8
        }
    }

    /// A version of the instruction set, such as 9.0.
    public struct ComputeCapability: Sendable, Equatable, CustomStringConvertible {
        public var major: Int
        public var minor: Int

        public init(major: Int, minor: Int) {
            self.major = major
            self.minor = minor
        }

        public var description: String { "\(major).\(minor)" }
    }

    /// Device number `ordinal`.
    ///
    /// - Throws: `unavailable` where there is no such device, with how many there are.
    public init(_ ordinal: Int, driver: CUDADriver) throws(FathomError) {
        let count = try driver.deviceCount()
        guard (0..<count).contains(ordinal) else {
            let legal =
                count == 0
                ? "the driver sees no GPU; look at nvidia-smi and CUDA_VISIBLE_DEVICES" : "0...\(count - 1) is legal"
            throw FathomError(.unavailable, "no GPU number \(ordinal): \(legal)")
        }
        self.driver = driver
        self.ordinal = ordinal
        var bytes = [CChar](repeating: 0, count: 256)
        try driver.check(driver.functions.deviceName(&bytes, 256, Int32(ordinal)), "cuDeviceGetName(\(ordinal))")
        name = String(decoding: bytes.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        var memory = 0
        try driver.check(
            driver.functions.deviceTotalMemory(&memory, Int32(ordinal)), "cuDeviceTotalMem(\(ordinal))")
        totalMemory = memory
        limits = try Self.limits(of: ordinal, driver: driver)
    }

    /// The value of an attribute (`CUdevice_attribute` in cuda.h).
    public func attribute(_ attribute: Attribute) throws(FathomError) -> Int {
        try Self.attribute(attribute, of: ordinal, driver: driver)
    }

    /// Refuses devices that Hopper kernels do not run on.
    ///
    /// - Throws: `unavailable`, naming the device and its compute capability.
    public func requireHopper() throws(FathomError) {
        guard limits.computeCapability == ComputeCapability(major: 9, minor: 0) else {
            throw FathomError(
                .unavailable,
                "\(name) has compute capability \(limits.computeCapability); these kernels need 9.0 (H100, H200, H800, "
                    + "GH200)")
        }
    }

    private static func attribute(
        _ attribute: Attribute, of ordinal: Int, driver: CUDADriver
    ) throws(FathomError) -> Int {
        var value: Int32 = 0
        try driver.check(
            driver.functions.deviceAttribute(&value, attribute.rawValue, Int32(ordinal)),
            "cuDeviceGetAttribute(\(attribute), \(ordinal))")
        return Int(value)
    }

    private static func limits(of ordinal: Int, driver: CUDADriver) throws(FathomError) -> Limits {
        func value(_ attribute: Attribute) throws(FathomError) -> Int {
            try Self.attribute(attribute, of: ordinal, driver: driver)
        }
        return Limits(
            computeCapability: ComputeCapability(
                major: try value(.computeCapabilityMajor), minor: try value(.computeCapabilityMinor)),
            multiprocessorCount: try value(.multiprocessorCount),
            maximumBlockThreads: try value(.maximumBlockThreads),
            maximumThreadsPerMultiprocessor: try value(.maximumThreadsPerMultiprocessor),
            registersPerMultiprocessor: try value(.registersPerMultiprocessor),
            sharedBytesPerMultiprocessor: try value(.sharedBytesPerMultiprocessor),
            maximumSharedBytes: try value(.maximumSharedBytesOptIn),
            l2CacheBytes: try value(.l2CacheBytes),
            multiprocessorClockKilohertz: try value(.clockKilohertz),
            memoryClockKilohertz: try value(.memoryClockKilohertz),
            memoryBusBits: try value(.memoryBusBits),
            supportsClusters: try value(.clusterLaunch) != 0,
            supportsTensorMaps: try value(.tensorMapAccess) != 0)
    }
}

extension CUDADevice {
    /// Attributes by their numbers in cuda.h (`CU_DEVICE_ATTRIBUTE_…`).
    public enum Attribute: Int32, Sendable {
        case maximumBlockThreads = 1
        case clockKilohertz = 13
        case multiprocessorCount = 16
        case memoryClockKilohertz = 36
        case memoryBusBits = 37
        case l2CacheBytes = 38
        case maximumThreadsPerMultiprocessor = 39
        case computeCapabilityMajor = 75
        case computeCapabilityMinor = 76
        case sharedBytesPerMultiprocessor = 81
        case registersPerMultiprocessor = 82
        case cooperativeLaunch = 95
        case maximumSharedBytesOptIn = 97
        case maximumPersistingL2Bytes = 108
        case reservedSharedBytesPerBlock = 111
        case clusterLaunch = 120
        case tensorMapAccess = 127
    }
}
