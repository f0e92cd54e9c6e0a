# One image for both pages and for training. Its parts, with PostgreSQL for the case log: compose.yaml
FROM python:3.11.13-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    PYTHONPATH=/app \
    KAGGLEHUB_CACHE=/app/cache/kaggle \
    KERAS_HOME=/app/cache/keras \
    MALLOC_TRIM_THRESHOLD_=100000
WORKDIR /app

# libraries of a desktop, which OpenCV loads although it opens no window
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

# psycopg: the case log lies in PostgreSQL
COPY requirements.txt requirements-dev.txt ./
RUN grep '^psycopg' requirements-dev.txt > driver.txt \
    && pip install --no-cache-dir --disable-pip-version-check -r requirements.txt -r driver.txt \
    && rm driver.txt requirements-dev.txt

COPY LICENSE train.py ./
COPY .streamlit .streamlit
COPY core core
COPY dashboard dashboard

# a user who may write what people make, and not the program
RUN useradd --create-home --uid 10001 dermlens \
    && mkdir -p runs data cache \
    && chown dermlens:dermlens runs data cache
USER dermlens
VOLUME ["/app/runs", "/app/data", "/app/cache"]
EXPOSE 8501 7860

HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; o = u.build_opener(u.ProxyHandler({})); [o.open(a, timeout=4) for a in ('http://127.0.0.1:8501/_stcore/health', 'http://127.0.0.1:7860/')]"]

# it asks for DERMLENS_LOGIN, and says so where there is none
CMD ["python", "-m", "dashboard", "--host", "0.0.0.0"]
