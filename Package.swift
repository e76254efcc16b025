// swift-tools-version: 6.2
// SPDX-License-Identifier: MIT

import PackageDescription

// MARK: Settings

let settings: [SwiftSetting] =
    [
        .swiftLanguageMode(.v6),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    ] + (Context.environment["FATHOM_WARNINGS_AS_ERRORS"] == nil ? [] : [.treatAllWarnings(as: .error)])

/// Kernel modules stay optimised in debug builds, so that tests of everything above them run at speed; so do protocols
/// and their simulation, of which tests run tens of thousands of schedules.
let kernelSettings = settings + [.unsafeFlags(["-O"], .when(configuration: .debug))]

// MARK: Modules, lowest floor first (see ARCHITECTURE.md)

var targets: [Target] = [
    // Floor 0
    .target(name: "CFathom"),
    .systemLibrary(name: "CUCX", providers: [.apt(["libucx-dev"])]),

    // Floor 1
    .target(name: "Platform", dependencies: ["CFathom"], swiftSettings: settings),
    .target(name: "LowPrecision", swiftSettings: settings),

    // Floor 2
    .target(name: "Tensors", dependencies: ["Platform", "LowPrecision"], swiftSettings: settings),
    .target(name: "Workers", dependencies: ["CFathom", "Platform"], swiftSettings: settings),
    .target(
        name: "Ranks", dependencies: ["CFathom", "Platform", .target(name: "CUCX", condition: .when(traits: ["UCX"]))],
        swiftSettings: settings),
    .target(
        name: "Telemetry",
        dependencies: [
            "Platform",
            .product(name: "Logging", package: "swift-log"),
            .product(name: "CoreMetrics", package: "swift-metrics"),
        ],
        swiftSettings: settings),
    .target(
        name: "CUDA", dependencies: ["CFathom", "Platform"],
        resources: [.embedInCode("Device/hopper.cuh"), .embedInCode("Device/layout.cuh")],
        swiftSettings: settings),
    .target(name: "Simulation", dependencies: ["Platform"], swiftSettings: kernelSettings),

    // Floor 3
    .target(name: "Kernels", dependencies: ["CFathom"], swiftSettings: kernelSettings),
    .target(name: "KernelsBaseline", dependencies: ["Kernels"], swiftSettings: kernelSettings),
]

var kernelLevels: [Target.Dependency] = ["KernelsBaseline"]
#if arch(x86_64)
targets.append(
    .target(
        name: "KernelsAVX2",
        dependencies: ["CFathom", "Kernels"],
        swiftSettings: kernelSettings + [
            .unsafeFlags(["-Xcc", "-mavx2", "-Xcc", "-mfma", "-Xcc", "-mf16c"])
        ]))
targets.append(
    .target(
        name: "KernelsAVX512",
        dependencies: ["CFathom", "Kernels"],
        swiftSettings: kernelSettings + [
            .unsafeFlags(
                ["avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512bf16", "avx512vbmi"]
                    .flatMap { ["-Xcc", "-m\($0)"] })
        ]))
kernelLevels += ["KernelsAVX2", "KernelsAVX512"]
#endif

targets += [
    .target(
        name: "KernelDispatch", dependencies: ["Platform", "Tensors", "Workers", "Kernels"] + kernelLevels,
        swiftSettings: settings),

    // Floor 4
    .target(
        name: "DeepGEMM",
        dependencies: [
            "CFathom", "Platform", "LowPrecision", "Tensors", "Workers", "Telemetry", "Ranks", "CUDA",
            "Kernels", "KernelDispatch",
        ],
        resources: [
            .embedInCode("CUDA/gemm.cu"), .embedInCode("CUDA/gemm_layout.cuh"),
            .embedInCode("CUDA/matrix_rate.cu"),
        ],
        swiftSettings: settings),
    .target(
        name: "FlashMLA",
        dependencies: [
            "Platform", "LowPrecision", "Tensors", "Workers", "Telemetry", "CUDA", "Kernels", "KernelDispatch",
        ],
        resources: [.embedInCode("CUDA/mla.cu"), .embedInCode("CUDA/mla_layout.cuh")],
        swiftSettings: settings),
    .target(
        name: "DeepEP",
        dependencies: [
            "CFathom", "Platform", "LowPrecision", "Tensors", "Workers", "Telemetry", "Ranks", "Simulation", "Kernels",
            "KernelDispatch",
        ],
        swiftSettings: kernelSettings),
    .target(name: "EPLB", dependencies: ["Platform", "Telemetry"], swiftSettings: settings),
    .target(
        name: "ProfileData", dependencies: ["Platform", "Telemetry"],
        resources: [.embedInCode("Timeline/timeline.html")],
        swiftSettings: settings),

    // Floor 5
    .target(
        name: "Tokenizers",
        dependencies: ["Platform"],
        swiftSettings: settings),
    .target(
        name: "DeepSeekModel",
        dependencies: [
            "Platform", "LowPrecision", "Tensors", "Workers", "Telemetry", "Ranks", "Kernels", "KernelDispatch",
            "DeepGEMM", "FlashMLA", "EPLB", "DeepEP",
            .product(name: "Logging", package: "swift-log"),
        ],
        swiftSettings: settings),

    // Floor 6
    .target(
        name: "Inference",
        dependencies: [
            "Platform", "Tokenizers", "DeepSeekModel", "Telemetry",
            .product(name: "Logging", package: "swift-log"),
            .product(name: "Metrics", package: "swift-metrics"),
            .product(name: "DequeModule", package: "swift-collections"),
            .product(name: "HeapModule", package: "swift-collections"),
        ],
        swiftSettings: settings),

    .target(
        name: "Planner",
        dependencies: ["Platform", "KernelDispatch", "Simulation", "DeepEP", "EPLB", "DeepSeekModel"],
        swiftSettings: kernelSettings),

    // Floor 7
    .target(
        name: "Server",
        dependencies: [
            "Platform", "Tokenizers", "DeepSeekModel", "Inference", "Telemetry",
            .product(name: "Logging", package: "swift-log"),
            .product(name: "CoreMetrics", package: "swift-metrics"),
            .product(name: "Hummingbird", package: "hummingbird", condition: .when(traits: ["Server"])),
            .product(name: "HummingbirdCore", package: "hummingbird", condition: .when(traits: ["Server"])),
            .product(name: "HTTPTypes", package: "swift-http-types", condition: .when(traits: ["Server"])),
            .product(name: "NIOCore", package: "swift-nio", condition: .when(traits: ["Server"])),
            .product(name: "NIOPosix", package: "swift-nio", condition: .when(traits: ["Server"])),
            .product(name: "NIOHTTP1", package: "swift-nio", condition: .when(traits: ["Server"])),
            .product(name: "NIOHTTPTypes", package: "swift-nio-extras", condition: .when(traits: ["Server"])),
            .product(
                name: "ServiceLifecycle", package: "swift-service-lifecycle", condition: .when(traits: ["Server"])),
        ],
        resources: [.embedInCode("Resources/chat.html")],
        swiftSettings: settings),

    // Floor 8
    .target(
        name: "Commands",
        dependencies: [
            "Platform", "LowPrecision", "Tensors", "Workers", "Ranks", "Telemetry", "CUDA", "KernelDispatch",
            "DeepGEMM", "FlashMLA", "EPLB", "DeepEP", "ProfileData", "Tokenizers", "DeepSeekModel", "Inference",
            "Planner",
            .target(name: "Server", condition: .when(traits: ["Server"])),
            .product(name: "ArgumentParser", package: "swift-argument-parser"),
            .product(name: "CoreMetrics", package: "swift-metrics"),
            .product(name: "Logging", package: "swift-log"),
        ],
        swiftSettings: settings),
    .executableTarget(name: "fathom", dependencies: ["Commands"], swiftSettings: settings),
]

// MARK: Tests

targets += [
    .target(
        name: "TestSupport", dependencies: ["Platform", "Tensors", "CUDA"], path: "Tests/TestSupport",
        swiftSettings: settings)
]

let testedModules = [
    "Platform", "LowPrecision", "Tensors", "Workers", "Ranks", "Telemetry", "CUDA", "DeepGEMM", "FlashMLA", "EPLB",
    "Tokenizers", "DeepSeekModel", "Inference", "Server", "Commands", "Simulation", "DeepEP", "ProfileData", "Planner",
]
let testDependencies: [String: [Target.Dependency]] = [
    "ProfileData": ["Telemetry"],
    "DeepGEMM": ["LowPrecision", "Tensors", "Workers", "Ranks", "CUDA", "Kernels", "KernelDispatch"],
    "FlashMLA": ["LowPrecision", "Tensors", "Workers", "CUDA", "Kernels", "KernelDispatch"],
    "DeepEP": ["LowPrecision", "Ranks", "Simulation", "Tensors", "Kernels", "KernelDispatch"],
    "Tensors": ["LowPrecision"],
    "Planner": ["DeepSeekModel"],
    "DeepSeekModel": [
        "Ranks", "LowPrecision", "Tensors", "Workers", "KernelDispatch", "DeepGEMM", "FlashMLA", "EPLB", "Tokenizers",
        .product(name: "Logging", package: "swift-log"),
    ],
    "Inference": [
        "Tensors", "Tokenizers", "DeepSeekModel", "Telemetry", "Workers",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "MetricsTestKit", package: "swift-metrics"),
    ],
    "Server": [
        "Tokenizers", "DeepSeekModel", "Inference", "Telemetry",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio", condition: .when(traits: ["Server"])),
        .product(name: "NIOPosix", package: "swift-nio", condition: .when(traits: ["Server"])),
        .product(name: "Subprocess", package: "swift-subprocess"),
        .product(name: "InMemoryTracing", package: "swift-distributed-tracing", condition: .when(traits: ["Server"])),
        .product(name: "Instrumentation", package: "swift-distributed-tracing", condition: .when(traits: ["Server"])),
        .product(name: "Tracing", package: "swift-distributed-tracing", condition: .when(traits: ["Server"])),
    ],
    "Telemetry": [
        .product(name: "CoreMetrics", package: "swift-metrics"),
        .product(name: "Logging", package: "swift-log"),
    ],
    "Commands": [
        "Tensors", "CUDA", "Tokenizers", "DeepSeekModel", "fathom",
        .product(name: "Subprocess", package: "swift-subprocess"),
    ],
]
targets += testedModules.map { module in
    .testTarget(
        name: "\(module)Tests",
        dependencies: [.target(name: module), "TestSupport"] + (module == "Platform" ? [] : ["Platform"])
            + (testDependencies[module] ?? []),
        exclude: module == "CUDA" ? ["FakeDriver"] : [],
        swiftSettings: settings)
}
targets.append(.testTarget(name: "TidyTests", swiftSettings: settings))

// MARK: Package

let package = Package(
    name: "fathom",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "fathom", targets: ["fathom"]),
        .library(name: "DeepGEMM", targets: ["DeepGEMM"]),
        .library(name: "FlashMLA", targets: ["FlashMLA"]),
        .library(name: "EPLB", targets: ["EPLB"]),
        .library(name: "Tokenizers", targets: ["Tokenizers"]),
        .library(name: "DeepSeekModel", targets: ["DeepSeekModel"]),
        .library(name: "Inference", targets: ["Inference"]),
        .library(name: "Ranks", targets: ["Ranks"]),
    ],
    traits: [
        .trait(name: "Server", description: "The HTTP service: brings in Hummingbird and SwiftNIO."),
        .trait(name: "UCX", description: "Groups of ranks on several machines, through UCX: needs libucx-dev."),
        .default(enabledTraits: ["Server"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0", traits: []),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.34.1"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.0.0"),
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.6.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2", traits: []),
    ],
    targets: targets
)
