// SPDX-License-Identifier: MIT
// SAFETY: In this file functions of NVRTC are called by pointers of the types that nvrtc.h declares; a program is
// created once and destroyed once, and every buffer is as long as the library asked for.

import Platform

/// The functions of NVRTC that are used, with the signatures of nvrtc.h. A program is an opaque pointer.
struct NVRTCFunctions: Sendable {
    typealias Strings = UnsafePointer<UnsafePointer<CChar>?>

    let version: @Sendable @convention(c) (UnsafeMutablePointer<Int32>, UnsafeMutablePointer<Int32>) -> Int32
    let errorString: @Sendable @convention(c) (Int32) -> UnsafePointer<CChar>?
    let createProgram:
        @Sendable @convention(c) (
            UnsafeMutablePointer<OpaquePointer?>, UnsafePointer<CChar>, UnsafePointer<CChar>, Int32, Strings?, Strings?
        ) -> Int32
    let destroyProgram: @Sendable @convention(c) (UnsafeMutablePointer<OpaquePointer?>) -> Int32
    let addNameExpression: @Sendable @convention(c) (OpaquePointer, UnsafePointer<CChar>) -> Int32
    let compileProgram: @Sendable @convention(c) (OpaquePointer, Int32, Strings?) -> Int32
    let loweredName:
        @Sendable @convention(c) (
            OpaquePointer, UnsafePointer<CChar>, UnsafeMutablePointer<UnsafePointer<CChar>?>
        ) -> Int32
    let logSize: @Sendable @convention(c) (OpaquePointer, UnsafeMutablePointer<Int>) -> Int32
    let log: @Sendable @convention(c) (OpaquePointer, UnsafeMutablePointer<CChar>) -> Int32
    let cubinSize: @Sendable @convention(c) (OpaquePointer, UnsafeMutablePointer<Int>) -> Int32
    let cubin: @Sendable @convention(c) (OpaquePointer, UnsafeMutableRawPointer) -> Int32

    init(_ library: borrowing DynamicLibrary) throws(FathomError) {
        version = try library.function("nvrtcVersion")
        errorString = try library.function("nvrtcGetErrorString")
        createProgram = try library.function("nvrtcCreateProgram")
        destroyProgram = try library.function("nvrtcDestroyProgram")
        addNameExpression = try library.function("nvrtcAddNameExpression")
        compileProgram = try library.function("nvrtcCompileProgram")
        loweredName = try library.function("nvrtcGetLoweredName")
        logSize = try library.function("nvrtcGetProgramLogSize")
        log = try library.function("nvrtcGetProgramLog")
        cubinSize = try library.function("nvrtcGetCUBINSize")
        cubin = try library.function("nvrtcGetCUBIN")
    }
}

extension DynamicLibrary {
    /// A function of the library as a pointer of type `Function`, which must be a `@convention(c)` type that fits the
    /// library's declaration.
    borrowing func function<Function>(_ name: String) throws(FathomError) -> Function {
        precondition(MemoryLayout<Function>.size == MemoryLayout<UnsafeMutableRawPointer>.size)
        return unsafeBitCast(try requiredSymbol(name), to: Function.self)
    }
}

/// A program inside the compiler; destroyed when the value dies.
struct NVRTCProgram: ~Copyable {
    let handle: OpaquePointer
    private let functions: NVRTCFunctions

    init(source: KernelSource, functions: NVRTCFunctions) throws(FathomError) {
        var handle: OpaquePointer?
        let code = withCStrings(source.headers.map(\.text)) { texts in
            withCStrings(source.headers.map(\.name)) { names in
                functions.createProgram(
                    &handle, source.text, source.name, Int32(source.headers.count), texts, names)
            }
        }
        guard code == 0, let handle else {
            throw FathomError(.internal, "nvrtcCreateProgram(\(source.name)) returned \(code)")
        }
        self.handle = handle
        self.functions = functions
    }

    deinit {
        var handle: OpaquePointer? = handle
        _ = functions.destroyProgram(&handle)
    }

    /// What the compiler said, without the lines that tell how long it took: one input gives one output.
    func log() -> String {
        var size = 0
        guard functions.logSize(handle, &size) == 0, size > 1 else { return "" }
        var bytes = [CChar](repeating: 0, count: size)
        guard functions.log(handle, &bytes) == 0 else { return "" }
        let text = String(decoding: bytes.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        return text.split(separator: "\n", omittingEmptySubsequences: false)
            .filter { !$0.contains("Compile time = ") }.joined(separator: "\n")
    }

    /// The machine code; nil where there is none.
    func cubin() -> [UInt8]? {
        var size = 0
        guard functions.cubinSize(handle, &size) == 0, size > 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: size)
        return functions.cubin(handle, &bytes) == 0 ? bytes : nil
    }
}

/// Calls `body` with an array of NUL-terminated strings; nil where there are none.
func withCStrings<Result>(_ strings: [String], _ body: (NVRTCFunctions.Strings?) -> Result) -> Result {
    guard !strings.isEmpty else { return body(nil) }
    // One block of memory holds all strings, so that their addresses hold still together.
    var bytes: [CChar] = []
    var offsets: [Int] = []
    for string in strings {
        offsets.append(bytes.count)
        bytes.append(contentsOf: string.utf8CString)
    }
    return bytes.withUnsafeBufferPointer { block in
        let pointers = offsets.map { offset in block.baseAddress.map { $0 + offset } }
        return pointers.withUnsafeBufferPointer { body($0.baseAddress) }
    }
}
