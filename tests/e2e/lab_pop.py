# SPDX-License-Identifier: Apache-2.0
"""usage: lab_pop.py NAME   a server as small as can be, for a POP: answers with its name"""
import asyncio
import sys

NAME = sys.argv[1]
BODY = f"hello from {NAME}\n"


async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            close = b"connection: close" in head.lower()
            head = ["HTTP/1.1 200 OK", f"X-Skerry-Pop: {NAME}", f"Content-Length: {len(BODY)}"]
            head += ["Connection: close"] if close else []
            writer.write("\r\n".join([*head, "", BODY]).encode())
            await writer.drain()
            if close:
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "0.0.0.0", 80, backlog=1024)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


asyncio.run(main())
