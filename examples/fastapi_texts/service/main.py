from fastapi import FastAPI

from service.api.v1.endpoints import texts

web = FastAPI(title="Texts")
web.include_router(texts.router)
