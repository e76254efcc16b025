// SPDX-License-Identifier: MIT
// SAFETY: In this file the driver writes into variables of this thread that live during the call, and its constant
// strings are copied at once.

public import Platform

/// The CUDA driver, loaded at run time.
///
/// Everything that talks to a GPU starts here: `try CUDADriver.shared()`. Without a driver that is one error which
/// says what was looked for and how to get it, and nothing else of Fathom is affected.
public final class CUDADriver: Sendable {
    /// Where the library was found.
    public let path: String
    /// The newest CUDA version that the driver knows, such as 13.0.
    public let version: (major: Int, minor: Int)
    let functions: DriverFunctions
    private let library: DynamicLibrary

    /// The places where the driver is looked for: `FATHOM_CUDA_DRIVER` alone where it is set.
    public static var candidates: [String] {
        Machine.environment("FATHOM_CUDA_DRIVER").map { [$0] } ?? ["libcuda.so.1"]
    }

    private static let process: Result<CUDADriver, FathomError> = {
        do throws(FathomError) {
            return .success(try CUDADriver(candidates: candidates))
        } catch {
            return .failure(error)
        }
    }()

    /// The process's driver, loaded on the first call.
    ///
    /// - Throws: `unavailable` where there is no driver, or none that works.
    public static func shared() throws(FathomError) -> CUDADriver { try process.get() }

    /// Loads and initialises the first of `candidates` that can be loaded.
    public init(candidates: [String]) throws(FathomError) {
        let library = try DynamicLibrary(
            "CUDA driver", candidates: candidates,
            advice: "It comes with NVIDIA's driver package, not with the CUDA toolkit; in a container start with "
                + "--gpus all. FATHOM_CUDA_DRIVER names a library elsewhere. Everything but the GPU works without it")
        let functions = try DriverFunctions(library)
        path = library.path
        let code = functions.initialize(0)
        guard code == 0 else {
            throw FathomError(
                .unavailable,
                "the CUDA driver \(library.path) does not start: cuInit(0) failed: "
                    + "\(functions.text(of: code)). nvidia-smi tells more")
        }
        var version: Int32 = 0
        _ = functions.driverVersion(&version)
        self.version = (Int(version / 1000), Int(version % 1000 / 10))
        self.functions = functions
        self.library = library
    }

    /// The number of GPUs that this process may use.
    public func deviceCount() throws(FathomError) -> Int {
        var count: Int32 = 0
        let code = functions.deviceCount(&count)
        // The driver has an error of its own for none.
        if code == CUDACode.noDevice { return 0 }
        try check(code, "cuDeviceGetCount()")
        return Int(count)
    }

    /// Throws what a call of the driver says, with the call and its arguments.
    func check(_ code: Int32, _ call: @autoclosure () -> String) throws(FathomError) {
        guard code != CUDACode.success else { return }
        throw FathomError(CUDACode.kind(of: code), "\(call()) failed: \(functions.text(of: code))")
    }
}

extension DriverFunctions {
    /// The driver's name and text of a code.
    func text(of code: Code) -> String {
        var name: UnsafePointer<CChar>?
        var text: UnsafePointer<CChar>?
        guard errorName(code, &name) == 0, let name else { return "code \(code)" }
        guard errorString(code, &text) == 0, let text else { return String(cString: name) }
        return "\(String(cString: name)) (\(code)): \(String(cString: text))"
    }
}
