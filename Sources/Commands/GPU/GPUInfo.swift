// SPDX-License-Identifier: MIT

import ArgumentParser
import CUDA
import Platform

/// What there is of GPUs, driver, compiler and compiled kernels.
struct GPUInfo: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "info",
        abstract: "Say what GPUs, driver, compiler and compiled kernels there are.",
        discussion: """
            Ends with status 69 where there is no driver or no GPU. Environment: FATHOM_CUDA_DRIVER and FATHOM_NVRTC \
            name the driver's and the compiler's library, FATHOM_CACHE_DIR the folder of the cache.

            EXAMPLES
              fathom gpu info
              fathom gpu info --json
            """)

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    func run() throws {
        let driver: CUDADriver
        do throws(FathomError) {
            driver = try CUDADriver.shared()
        } catch {
            try Output.render(GPUReport(driver: nil, devices: []), asJSON: output.json)
            throw error
        }
        var devices: [GPUReport.Device] = []
        for ordinal in 0..<(try driver.deviceCount()) {
            devices.append(GPUReport.Device(try CUDADevice(ordinal, driver: driver)))
        }
        try Output.render(GPUReport(driver: .init(driver), devices: devices), asJSON: output.json)
        if devices.isEmpty {
            throw FathomError(
                .unavailable, "the driver \(driver.path) sees no GPU; look at nvidia-smi and CUDA_VISIBLE_DEVICES")
        }
    }
}

/// What `fathom gpu info` found.
struct GPUReport: Report {
    /// The driver's library.
    struct Driver: Encodable {
        var path: String
        /// The newest CUDA version that it knows.
        var version: String

        init(_ driver: CUDADriver) {
            path = driver.path
            version = "\(driver.version.major).\(driver.version.minor)"
        }
    }

    /// One GPU.
    struct Device: Encodable {
        var name: String
        var computeCapability: String
        var memoryBytes: Int
        var nominalMemoryBandwidthBytesPerSecond: Double
        var multiprocessors: Int
        var clockKilohertz: Int
        var l2CacheBytes: Int
        var sharedBytesPerBlock: Int
        var registersPerMultiprocessor: Int
        var hasClusters: Bool
        var hasTensorMaps: Bool

        init(_ device: CUDADevice) {
            let limits = device.limits
            name = device.name
            computeCapability = "\(limits.computeCapability)"
            memoryBytes = device.totalMemory
            nominalMemoryBandwidthBytesPerSecond = limits.nominalMemoryBandwidth
            multiprocessors = limits.multiprocessorCount
            clockKilohertz = limits.multiprocessorClockKilohertz
            l2CacheBytes = limits.l2CacheBytes
            sharedBytesPerBlock = limits.maximumSharedBytes
            registersPerMultiprocessor = limits.registersPerMultiprocessor
            hasClusters = limits.supportsClusters
            hasTensorMaps = limits.supportsTensorMaps
        }
    }

    /// The compiler's library.
    struct Compiler: Encodable {
        var path: String
        var version: String
    }

    /// The folder of compiled kernels.
    struct Cache: Encodable {
        var folder: String
        var entries: Int
        var bytes: Int
    }

    var driver: Driver?
    var devices: [Device]
    var compiler: Compiler?
    var cache: Cache

    init(driver: Driver?, devices: [Device]) {
        self.driver = driver
        self.devices = devices
        if let found = try? RuntimeCompiler() {
            compiler = Compiler(path: found.path, version: "\(found.version.major).\(found.version.minor)")
        }
        let folder = KernelCache.defaultFolder
        let usage = KernelCache.usage(of: folder)
        cache = Cache(folder: folder, entries: usage.entryCount, bytes: usage.byteCount)
    }

    var text: String {
        var table = Table([.left, .left])
        table.add("driver", driver.map { "CUDA \($0.version), \($0.path)" } ?? "none")
        for (ordinal, device) in devices.enumerated() {
            table.add("GPU \(ordinal)", "\(device.name), compute capability \(device.computeCapability)")
            table.add("", "\(device.multiprocessors) multiprocessors at \(megahertz(device.clockKilohertz)) MHz")
            let bandwidth = Quantity.decimal(device.nominalMemoryBandwidthBytesPerSecond / 1e9, places: 0)
            table.add("", "\(Quantity.bytes(device.memoryBytes)) at \(bandwidth) GB/s nominal")
            table.add(
                "", "\(Quantity.bytes(device.l2CacheBytes)) L2, \(device.sharedBytesPerBlock) bytes shared per block")
            table.add(
                "",
                "clusters: \(device.hasClusters ? "yes" : "no"), tensor maps: \(device.hasTensorMaps ? "yes" : "no")")
        }
        table.add(
            "compiler",
            compiler.map { "NVRTC \($0.version), \($0.path)" } ?? "none; pip install nvidia-cuda-nvrtc-cu12==12.9.86")
        table.add("cache", "\(cache.folder): \(cache.entries) kernels, \(Quantity.bytes(cache.bytes))")
        return table.text
    }

    private func megahertz(_ kilohertz: Int) -> String { Quantity.decimal(Double(kilohertz) / 1000, places: 0) }
}
