// SPDX-License-Identifier: MIT

public import Platform

/// NVRTC, the compiler of CUDA C++ as a library, loaded at run time. It needs no GPU and no driver.
///
/// Version 12.9 and 13.x are known to work. Calls may come from several threads at once.
public final class RuntimeCompiler: Sendable {
    /// Where the library was found.
    public let path: String
    /// The compiler's version, such as 12.9.
    public let version: (major: Int, minor: Int)
    /// What distinguishes this compiler's output from another's: part of the cache's key.
    public var identity: String { "nvrtc \(version.major).\(version.minor)" }

    private let library: DynamicLibrary
    private let functions: NVRTCFunctions

    /// Loads the first compiler that is found (see `candidates`).
    ///
    /// - Throws: `unavailable`, with where it was looked for and how to get it.
    public convenience init() throws(FathomError) { try self.init(candidates: Self.candidates()) }

    /// Loads the first of `candidates` that can be loaded.
    public init(candidates: [String]) throws(FathomError) {
        let library = try DynamicLibrary(
            "CUDA compiler (NVRTC)", candidates: candidates,
            advice: "To get it: pip install nvidia-cuda-nvrtc-cu12==12.9.86 into the virtual environment .venv, or "
                + "install the CUDA toolkit; FATHOM_NVRTC names a library elsewhere")
        functions = try NVRTCFunctions(library)
        var major: Int32 = 0
        var minor: Int32 = 0
        let code = functions.version(&major, &minor)
        guard code == 0 else {
            throw FathomError(.unavailable, "\(library.path): nvrtcVersion returned \(code)")
        }
        version = (Int(major), Int(minor))
        path = library.path
        self.library = library
    }

    /// Compiles `source` to machine code.
    ///
    /// - Throws: `badData` with the compiler's log where the source is wrong.
    public func compile(_ source: KernelSource) throws(FathomError) -> KernelBinary {
        let program = try NVRTCProgram(source: source, functions: functions)
        for expression in source.nameExpressions {
            try check(
                functions.addNameExpression(program.handle, expression), "nvrtcAddNameExpression(\(expression))", source
            )
        }
        let code = compile(program, options: source.allOptions)
        let log = program.log()
        guard code == 0 else {
            throw FathomError(
                .badData,
                "\(source.name) does not compile with \(identity) and \(source.allOptions.joined(separator: " ")): "
                    + "\(text(of: code))\n\(log)")
        }
        var symbols: [String: String] = [:]
        for expression in source.nameExpressions {
            var lowered: UnsafePointer<CChar>?
            try check(
                functions.loweredName(program.handle, expression, &lowered), "nvrtcGetLoweredName(\(expression))",
                source)
            // SAFETY: the program owns the NUL-terminated name and lives to the end of this function.
            symbols[expression] = lowered.map { String(cString: $0) }
        }
        guard let cubin = program.cubin() else {
            throw FathomError(
                .internal, "\(identity) made no machine code of \(source.name); is \(source.architecture) real?\n\(log)"
            )
        }
        return KernelBinary(cubin: cubin, symbols: symbols, log: log)
    }

    private func compile(_ program: borrowing NVRTCProgram, options: [String]) -> Int32 {
        withCStrings(options) { functions.compileProgram(program.handle, Int32(options.count), $0) }
    }

    private func check(_ code: Int32, _ call: String, _ source: KernelSource) throws(FathomError) {
        guard code != 0 else { return }
        throw FathomError(.badData, "\(source.name): \(call) failed: \(text(of: code))")
    }

    /// The library's name of a code.
    private func text(of code: Int32) -> String {
        // SAFETY: the library returns a constant NUL-terminated string.
        functions.errorString(code).map { "\(String(cString: $0)) (\(code))" } ?? "code \(code)"
    }
}
